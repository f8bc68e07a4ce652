// node customers.mjs PORT: about five requests a second, never more than four at a time.
import http from 'node:http';

const port = Number(process.argv[2]);
const agent = new http.Agent({ keepAlive: true, maxSockets: 4 });
let open = 0;

function send(method, path) {
  open++;
  const request = http.request({ host: '127.0.0.1', port, method, path, agent }, (response) => {
    response.resume().on('close', () => open--);
  });
  request.on('error', () => open--);
  request.end(method === 'POST' ? '{"items":[1,2]}' : undefined);
}

function next() {
  if (open < 4) {
    const number = 1 + Math.floor(Math.random() * 500);
    if (Math.random() < 0.7) send('GET', `/products/${number}`);
    else send('POST', `/checkout/${number}`);
  }
  setTimeout(next, Math.random() * 400);
}
next();
