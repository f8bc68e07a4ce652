// node customers.mjs PORT: one customer after the other, some four requests a second.
import http from 'node:http';

const port = Number(process.argv[2]);
const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });

function send(method, path) {
  const request = http.request({ host: '127.0.0.1', port, method, path, agent }, (response) => {
    response.resume().on('close', pause);
  });
  request.on('error', pause);
  request.end(method === 'POST' ? '{"items":[1,2]}' : undefined);
}

function pause() {
  setTimeout(next, 50 + Math.random() * 300);
}

function next() {
  const number = 1 + Math.floor(Math.random() * 500);
  if (Math.random() < 0.7) send('GET', `/products/${number}`);
  else send('POST', `/checkout/${number}`);
}
next();
