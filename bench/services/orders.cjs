// node orders.cjs PORT STOCK_PORT: answers GET /orders/ID/... with what another service has in stock for it, priced.
const http = require('node:http');

const [port, stock_port] = process.argv.slice(2).map(Number);
const agent = new http.Agent({ keepAlive: true });

function stockOf(id) {
  return new Promise((resolve, reject) => {
    http
      .get({ host: '127.0.0.1', port: stock_port, path: `/stock/${id}`, agent }, (response) => {
        const parts = [];
        response.on('data', (part) => parts.push(part));
        response.on('end', () => (response.statusCode === 200 ? resolve(JSON.parse(Buffer.concat(parts))) : reject(new Error(`stock: ${response.statusCode}`))));
      })
      .on('error', reject);
  });
}

async function answer(url) {
  const { pathname, searchParams } = new URL(url, 'http://localhost');
  const id = pathname.split('/')[2];
  const { items } = await stockOf(id);
  const lines = items
    .filter(({ available }) => available > 0)
    .map(({ sku, name, price_cents, available }) => ({ sku, name, price: (price_cents / 100).toFixed(2), left: available }))
    .sort((a, b) => a.name.localeCompare(b.name, 'en'));
  return JSON.stringify({ id, page: Number(searchParams.get('page')), lines, total: lines.reduce((sum, { price }) => sum + Number(price), 0).toFixed(2) });
}

http
  .createServer({ keepAliveTimeout: 60_000 }, (request, response) => {
    answer(request.url).then(
      (body) => response.setHeader('content-type', 'application/json').end(body),
      (error) => response.writeHead(502).end(error.message),
    );
  })
  .listen(port, '127.0.0.1');
