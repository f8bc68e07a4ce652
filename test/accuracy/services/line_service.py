"""line_service.py PORT: GET /line/ID asks, over one kept connection, a service on the next port that speaks lines and no HTTP."""
import socket
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

port = int(sys.argv[1])


def answer_lines(connection):
    while line := connection.recv(1000):
        connection.sendall(b"+" + line)


def accept_lines(listener):
    while True:
        threading.Thread(target=answer_lines, args=(listener.accept()[0],), daemon=True).start()


threading.Thread(target=accept_lines, args=(socket.create_server(("127.0.0.1", port + 1)),), daemon=True).start()
kept = socket.create_connection(("127.0.0.1", port + 1))


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        kept.sendall(b"PING\r\n")
        kept.recv(1000)
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


ThreadingHTTPServer(("127.0.0.1", port), Handler).serve_forever()
