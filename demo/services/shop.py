"""The shop: a thread per connection; each thread keeps its connections to the other services."""
import http.client
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PORTS = {"catalog": 8082, "pricing": 8083, "payments": 8084}
kept = threading.local()


class Unavailable(Exception):
    pass


def call(service, method, path):
    connections = kept.__dict__.setdefault("connections", {})
    if service not in connections:
        connections[service] = http.client.HTTPConnection("127.0.0.1", PORTS[service])
    connections[service].request(method, path)
    response = connections[service].getresponse()
    body = response.read()
    if response.status >= 500:
        raise Unavailable(f"{service} answered {response.status}")
    return json.loads(body)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def reply(self, status, value):
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        _, _, product = self.path.split("/")
        item = call("catalog", "GET", f"/items/{product}")
        price = call("pricing", "GET", f"/prices/{product}")
        self.reply(200, {**item, **price})

    def do_POST(self):
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        _, _, cart = self.path.split("/")
        price = call("pricing", "GET", f"/prices/{cart}")
        try:
            self.reply(201, call("payments", "POST", f"/charges/{cart}") | price)
        except Unavailable as error:
            self.reply(502, {"error": str(error)})

    def log_message(self, *_):
        pass


ThreadingHTTPServer(("127.0.0.1", 8081), Handler).serve_forever()
