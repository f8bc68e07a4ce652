// The catalog: Node.js, everything in memory.
import http from 'node:http';

const NAMES = ['lamp', 'kettle', 'chair', 'blanket', 'clock'];

http
  .createServer({ keepAliveTimeout: 120_000 }, (request, response) => {
    const id = Number(request.url.split('/')[2]);
    response.setHeader('content-type', 'application/json');
    response.end(JSON.stringify({ id, name: NAMES[id % NAMES.length] }));
  })
  .listen(8082, '127.0.0.1');
