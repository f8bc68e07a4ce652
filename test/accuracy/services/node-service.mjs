// node node-service.mjs HOP [eager] [fetch] [parallel]: Node's own server, and as client a keep-alive agent or fetch.
// eager: no timers between calls; parallel: all calls at once.
import { createHash } from 'node:crypto';
import http from 'node:http';

const CALLS = { a: ['b', 'c'], b: ['d'], c: [], d: [] };
const PORTS = { a: 8001, b: 8002, c: 8003, d: 8004 };
const agent = new http.Agent({ keepAlive: true });

const [eager, fetches, parallel] = ['eager', 'fetch', 'parallel'].map((word) => process.argv.includes(word));
const pause = () => (eager ? undefined : new Promise((resolve) => setTimeout(resolve, Math.random() * 3)));
const childId = (id, hop) => (id.startsWith('h') ? `h${createHash('sha256').update(`${id}/${hop}`).digest('hex').slice(0, 15)}` : id);

async function callWithFetch(hop, path) {
  const response = await fetch(`http://127.0.0.1:${PORTS[hop]}${path}`);
  if (response.status !== 200) throw new Error(`${path}: ${response.status}`);
  return response.text();
}

function callWithAgent(hop, path) {
  return new Promise((resolve, reject) => {
    http
      .get({ host: '127.0.0.1', port: PORTS[hop], path, agent }, (response) => {
        let body = '';
        response.on('data', (part) => (body += part));
        response.on('end', () => (response.statusCode === 200 ? resolve(body) : reject(new Error(`${path}: ${response.statusCode}`))));
      })
      .on('error', reject);
  });
}

async function answer(path) {
  const [, hop, id] = path.split('/');
  await pause();
  const call = (target) => (fetches ? callWithFetch : callWithAgent)(target, `/${target}/${childId(id, target)}`);
  const parts = parallel ? await Promise.all(CALLS[hop].map(call)) : [];
  for (const target of parallel ? [] : CALLS[hop]) {
    parts.push(await call(target));
    await pause();
  }
  return `${hop}(${parts.join(',')})`;
}

http
  .createServer({ keepAliveTimeout: 60_000 }, (request, response) => {
    answer(request.url).then(
      (body) => response.end(body),
      (error) => response.writeHead(500).end(error.message),
    );
  })
  .listen(PORTS[process.argv[2]], '127.0.0.1');
