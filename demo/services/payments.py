"""Payments: a thread per connection, a new connection to the bank for each charge."""
import json
import time
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_POST(self):
        _, _, cart = self.path.split("/")
        time.sleep(0.003)
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:8085/transfers/{cart}", data=b"{}") as answer:
                status, value = 201, json.load(answer)
        except urllib.error.HTTPError as error:
            status, value = 502, {"error": f"bank: {error.code}"}
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


ThreadingHTTPServer(("127.0.0.1", 8084), Handler).serve_forever()
