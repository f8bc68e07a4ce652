// Configurations of real servers, complete: nothing of the machine's own is read, all files lie in the given folder.
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { TracehouseError } from '../../schema/errors.ts';

/** php-fpm's name holds PHP's version. */
export function phpFpm(): string {
  const name = readdirSync('/usr/sbin').find((entry) => /^php-fpm[\d.]+$/.test(entry));
  if (name === undefined) throw new TracehouseError('no-php-fpm', 'php-fpm is missing', { mend: 'apt-get install php-fpm' });
  return join('/usr/sbin', name);
}

/** servers: the configuration of what it listens on. */
function nginxAround(folder: string, servers: string): string {
  return `user root;
worker_processes 1;
error_log stderr warn;
pid ${folder}/nginx.pid;
events { worker_connections 512; }
http {
  access_log off;
  client_body_temp_path ${folder}/body;
  proxy_temp_path ${folder}/proxy;
  fastcgi_temp_path ${folder}/fastcgi;
  uwsgi_temp_path ${folder}/uwsgi;
  scgi_temp_path ${folder}/scgi;
  keepalive_requests 1000000;
${servers}}
`;
}

/** /n/ID is passed on as /a/ID. */
export function nginxConfig(folder: string, port: number, upstream: string): string {
  return nginxAround(
    folder,
    `  upstream application { server ${upstream}; keepalive 64; }
  server {
    listen 127.0.0.1:${port};
    location /n/ {
      proxy_pass http://application/a/;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
    }
  }
`,
  );
}

/** A port for each hop, each with a pool of PHP processes. */
export function nginxFastcgiConfig(folder: string, documents: string, hops: readonly (readonly [string, number])[]): string {
  const servers = hops.map(
    ([hop, port]) => `  server {
    listen 127.0.0.1:${port} backlog=128;
    location / {
      fastcgi_pass unix:${folder}/fpm-${hop}.sock;
      fastcgi_param SCRIPT_FILENAME ${documents}/hop.php;
      fastcgi_param REQUEST_METHOD $request_method;
      fastcgi_param REQUEST_URI $request_uri;
    }
  }
`,
  );
  return nginxAround(folder, servers.join(''));
}

function apacheCommon(folder: string, modules: readonly string[]): string {
  const built = '/usr/lib/apache2/modules';
  return `ServerName tracehouse
PidFile ${folder}/apache.pid
DefaultRuntimeDir ${folder}
ErrorLog /dev/stderr
LogLevel warn
User www-data
Group www-data
${['mpm_event', 'authz_core', 'proxy', ...modules].filter((name) => existsSync(`${built}/mod_${name}.so`)).map((name) => `LoadModule ${name}_module ${built}/mod_${name}.so`).join('\n')}
StartServers 1
ServerLimit 1
ThreadLimit 128
ThreadsPerChild 128
MinSpareThreads 1
MaxSpareThreads 128
MaxRequestWorkers 128
KeepAlive On
KeepAliveTimeout 60
MaxKeepAliveRequests 0
ListenBackLog 128
`;
}

/** /n/ID is passed on as /a/ID, on kept connections. */
export function apacheProxyConfig(folder: string, port: number, upstream: string): string {
  return `${apacheCommon(folder, ['proxy_http'])}Listen 127.0.0.1:${port}
ProxyPass "/n/" "${upstream}/a/" ttl=60
`;
}

/** A port for each hop; its PHP runs in a pool of its own, so that nested calls never wait for each other's workers. */
export function apacheFastcgiConfig(folder: string, documents: string, hops: readonly (readonly [string, number])[]): string {
  const hosts = hops.map(
    ([hop, port]) => `Listen 127.0.0.1:${port}
<VirtualHost 127.0.0.1:${port}>
  DocumentRoot ${documents}
  RewriteEngine On
  RewriteRule ^/[a-d]/ ${documents}/hop.php [L]
  <FilesMatch "\\.php$">
    SetHandler "proxy:unix:${folder}/fpm-${hop}.sock|fcgi://${hop}"
  </FilesMatch>
</VirtualHost>
`,
  );
  return `${apacheCommon(folder, ['proxy_fcgi', 'rewrite'])}<Directory ${documents}>
  Require all granted
</Directory>
${hosts.join('')}`;
}

export function fpmConfig(folder: string, pools: readonly string[]): string {
  const sections = pools.map(
    (pool) => `[${pool}]
user = root
group = root
listen = ${folder}/fpm-${pool}.sock
listen.mode = 0666
listen.backlog = 128
pm = static
pm.max_children = 4
`,
  );
  return `[global]
error_log = /dev/stderr
daemonize = no
${sections.join('')}`;
}
