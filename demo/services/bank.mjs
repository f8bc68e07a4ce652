// The bank: Node.js; refuses to work now and then.
import http from 'node:http';

http
  .createServer((request, response) => {
    request.resume().on('end', () => {
      setTimeout(() => {
        response.statusCode = Math.random() < 0.2 ? 503 : 200;
        response.setHeader('content-type', 'application/json');
        response.end(JSON.stringify({ transfer: request.url.split('/')[2], done: response.statusCode === 200 }));
      }, 2 + Math.random() * 6);
    });
  })
  .listen(8085, '127.0.0.1');
