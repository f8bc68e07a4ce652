// node load.mjs PLAN OUT, PLAN: {"port":8001,"hop":"a","ids":["s1",...],"in_flight":8,"keep":true,"expect":"a(b(d()),c())"}
// Sends each id once, so many at a time. OUT: one line of JSON a request: id, started and ended (ms since 1970), status, ok.
import http from 'node:http';
import { readFileSync, writeFileSync } from 'node:fs';

const [, , plan, out] = process.argv;
const { port, hop, ids, in_flight, keep, expect } = JSON.parse(readFileSync(plan, 'utf8'));
const agent = new http.Agent({ keepAlive: keep, maxSockets: in_flight });

function send(id) {
  const started = Date.now();
  return new Promise((resolve) => {
    const done = (status, ok, error) => resolve({ id, started, ended: Date.now(), status, ok, error });
    http
      .get({ host: '127.0.0.1', port, path: `/${hop}/${id}`, agent }, (response) => {
        let body = '';
        response.on('data', (part) => (body += part));
        response.on('end', () => done(response.statusCode, response.statusCode === 200 && body === expect));
        response.on('error', (error) => done(response.statusCode, false, error.code));
      })
      .on('error', (error) => done(0, false, error.code));
  });
}

const lines = [];
let next = 0;
async function client() {
  while (next < ids.length) lines.push(JSON.stringify(await send(ids[next++])));
}
await Promise.all(Array.from({ length: in_flight }, client));
writeFileSync(out, `${lines.join('\n')}\n`);
agent.destroy();
