"""Prices: pre-forked workers, one request at a time each. Now and then the rates are stale and fetching them takes its time."""
import json
import os
import random
import signal
import time
from http.server import BaseHTTPRequestHandler, HTTPServer


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        time.sleep(random.uniform(0.25, 0.7) if random.random() < 0.07 else random.uniform(0.001, 0.006))
        body = json.dumps({"cents": 100 + hash(self.path) % 9900}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


server = HTTPServer(("127.0.0.1", 8083), Handler)
workers = []
for _ in range(4):
    pid = os.fork()
    if pid == 0:
        server.serve_forever()
    workers.append(pid)


def end(*_):
    for pid in workers:
        os.kill(pid, signal.SIGTERM)
    os._exit(0)


signal.signal(signal.SIGTERM, end)
while True:
    signal.pause()
