// node sink.mjs PORT SOCKET: says 200 to whatever is posted to the port, and keeps it in memory. Whoever asks at the Unix socket gets it
// all, each body after its length, and it is forgotten.
import http from 'node:http';

const [port, socket] = process.argv.slice(2);
let kept = [];

http
  .createServer((request, response) => {
    const parts = [];
    request.on('data', (part) => parts.push(part));
    request.on('end', () => {
      kept.push(Buffer.concat(parts));
      response.end();
    });
  })
  .listen(Number(port), '127.0.0.1');

http
  .createServer((_request, response) => {
    for (const body of kept) {
      const length = Buffer.alloc(4);
      length.writeUInt32LE(body.length);
      response.write(length);
      response.write(body);
    }
    kept = [];
    response.end();
  })
  .listen(socket);
