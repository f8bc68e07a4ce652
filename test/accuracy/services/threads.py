"""threads.py HOP WAY [SOCKET]: a thread per connection; WAY = fresh closes connections at both sides, the others keep them."""
import os
import socketserver
import sys
from http.server import BaseHTTPRequestHandler

from hops import PORTS, answer
from http_calls import WAYS

hop, way = sys.argv[1], sys.argv[2]
call = WAYS[way]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.0" if way == "fresh" else "HTTP/1.1"
    disable_nagle_algorithm = len(sys.argv) < 4

    def do_GET(self):
        body = answer(self.path, call).encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def address_string(self):
        return "-"

    def log_message(self, *_):
        pass


class TcpServer(socketserver.ThreadingMixIn, socketserver.TCPServer):
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 128


class UnixServer(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True
    request_queue_size = 128


if len(sys.argv) > 3:
    server = UnixServer(sys.argv[3], Handler)
    os.chmod(sys.argv[3], 0o666)
else:
    server = TcpServer(("127.0.0.1", PORTS[hop]), Handler)
server.serve_forever()
