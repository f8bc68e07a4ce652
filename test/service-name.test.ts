import { expect, test } from 'vitest';
import { nameService } from '../ingest/service-name.ts';
import type { ProcessFacts } from '../ingest/service-name.ts';

const facts = (values: Partial<ProcessFacts>): ProcessFacts => ({ exe: '', cmdline: '', container_id: '', cgroup_path: '/', otel_service_name: '', comm: '', cwd: '/srv/shop', ...values });
const PYTHON = '/usr/bin/python3.11';

test.each<[string, string, string]>([
  [PYTHON, 'python3 app.py', 'app'],
  [PYTHON, 'python3 -u -W ignore -X dev -OO /srv/orders.py --port 80', 'orders'],
  [PYTHON, 'python3 -Wignore -Xdev orders.py', 'orders'],
  [PYTHON, 'python3 -m inventory.server --port 80', 'inventory.server'],
  [PYTHON, 'python3 -m uvicorn shop.api:app --host 0.0.0.0', 'shop.api'],
  [PYTHON, 'python3 -c import_this', 'python'],
  [PYTHON, 'python3', 'python'],
  [PYTHON, '/usr/bin/python3 /usr/bin/gunicorn -b localhost:8000 -k gevent -w 4 app:app', 'app'],
  [PYTHON, '/usr/bin/python3 /usr/bin/gunicorn --bind unix:/run/x.sock shop.wsgi:application', 'shop'],
  [PYTHON, '/usr/bin/python3 /usr/bin/gunicorn --name checkout app:app', 'checkout'],
  [PYTHON, '/usr/bin/python3 /usr/bin/gunicorn -w 2 shop.wsgi', 'shop'],
  [PYTHON, '/usr/bin/python3 /usr/bin/gunicorn app:create_app()', 'app'],
  [PYTHON, 'gunicorn: worker [app:app]', 'app'],
  [PYTHON, 'python3 manage.py runserver', 'shop'],
  [PYTHON, 'python3 /srv/mailer/__main__.py', 'mailer'],
  [PYTHON, 'python3 /usr/bin/celery -A tasks worker', 'tasks'],
  [PYTHON, 'python3 /usr/bin/flask --app hello.py run', 'hello'],
  [`${PYTHON} (deleted)`, 'python3 app.py', 'app'],
  ['/usr/bin/node', 'node server.js', 'server'],
  ['/usr/bin/node', 'node --inspect --require ./tracing.js --max-old-space-size=512 dist/checkout.mjs', 'checkout'],
  ['/usr/bin/node', 'node /srv/front/dist/index.js', 'front'],
  ['/usr/bin/node', 'node ./index.js', 'shop'],
  ['/usr/bin/node', 'node /srv/web/node_modules/.bin/next start', 'web'],
  ['/usr/bin/node', 'node -e setInterval(()=>{})', 'node'],
  ['/usr/bin/deno', 'deno run --allow-net api.ts', 'api'],
  ['/usr/lib/jvm/17/bin/java', 'java -Xmx1g -Dx=y -jar /opt/orders-1.4.2-SNAPSHOT.jar --server', 'orders'],
  ['/usr/lib/jvm/17/bin/java', 'java -cp a.jar:b.jar --add-opens java.base/java.lang=ALL-UNNAMED com.acme.shop.OrderService', 'OrderService'],
  ['/usr/lib/jvm/17/bin/java', 'java -javaagent:a.jar -classpath x org.apache.catalina.startup.Bootstrap start', 'tomcat'],
  ['/usr/lib/jvm/17/bin/java', 'java -p mods -m shop/com.acme.Main', 'Main'],
  ['/usr/sbin/php-fpm8.2', 'php-fpm: pool checkout', 'checkout'],
  ['/usr/sbin/php-fpm8.2', 'php-fpm: pool www', 'php-fpm'],
  ['/usr/sbin/php-fpm8.2', 'php-fpm: master process (/etc/php/8.2/fpm/php-fpm.conf)', 'php-fpm'],
  ['/usr/bin/php8.2', 'php -d display_errors=1 /srv/worker.php', 'worker'],
  ['/usr/bin/php8.2', 'php artisan serve', 'shop'],
  ['/usr/bin/ruby3.1', 'ruby -I lib -r bundler/setup jobs.rb', 'jobs'],
  ['/usr/bin/ruby3.1', 'puma 6.4.0 (tcp://0.0.0.0:3000) [storefront]', 'storefront'],
  ['/usr/bin/bash', 'bash -x ./loop.sh', 'loop'],
  ['/usr/bin/bash', 'bash -c echo', 'bash'],
  ['/usr/bin/dotnet', 'dotnet exec Shop.Api.dll', 'Shop.Api'],
  ['/usr/lib/erlang/erts/bin/beam.smp', 'beam.smp -- -sname rabbit@host', 'rabbit'],
  ['/usr/sbin/nginx', 'nginx: worker process', 'nginx'],
  ['/usr/bin/envoy-1.29', 'envoy -c x', 'envoy-1.29'],
  ['', '/opt/thing --flag', 'thing'],
])('%s: %s', (exe, cmdline, expected) => {
  expect(nameService(facts({ exe, cmdline }))?.service_name).toBe(expected);
});

test.each<[string, Partial<ProcessFacts>, string, string]>([
  ['the environment comes first', { otel_service_name: 'orders', cgroup_path: '/system.slice/nginx.service', exe: '/usr/sbin/nginx' }, 'orders', 'env'],
  ['then a named container', { cgroup_path: '/lxc.payload.web1/system.slice/nginx.service', exe: '/usr/sbin/nginx' }, 'web1', 'container'],
  ['a machine of systemd', { cgroup_path: '/machine.slice/machine-db\\x2dmain.scope/payload', exe: '/usr/bin/x' }, 'db-main', 'container'],
  ['an id is no name', { container_id: 'f'.repeat(64), cgroup_path: `/system.slice/docker-${'f'.repeat(64)}.scope`, exe: PYTHON, cmdline: 'python app.py' }, 'app', 'script'],
  ['then the unit', { cgroup_path: '/system.slice/php8.2-fpm.service', exe: '/usr/sbin/php-fpm8.2', cmdline: 'php-fpm: pool www' }, 'php8.2-fpm', 'unit'],
  ['the innermost one', { cgroup_path: '/user.slice/user-1000.slice/user@1000.service/app.slice/shop.service', exe: PYTHON, cmdline: 'python app.py' }, 'shop', 'unit'],
  ['not one that starts shells', { cgroup_path: '/system.slice/ssh.service', exe: PYTHON, cmdline: 'python app.py' }, 'app', 'script'],
  ['not the user manager', { cgroup_path: '/user.slice/user-1000.slice/user@1000.service/app.slice/term.scope', exe: PYTHON, cmdline: 'python app.py' }, 'app', 'script'],
  ['then the executable', { exe: '/usr/sbin/nginx' }, 'nginx', 'exe'],
  ['then the thread', { comm: 'kworker' }, 'kworker', 'exe'],
])('%s', (_what, values, service_name, service_rule) => {
  expect(nameService(facts(values))).toEqual({ service_name, service_rule });
});

test('arguments may be separated by NUL', () => {
  expect(nameService(facts({ exe: PYTHON, cmdline: 'python3\0-u\0/srv/my orders.py\0' }))?.service_name).toBe('my orders');
});

test('nothing known, no name', () => {
  expect(nameService(facts({}))).toBeNull();
});
