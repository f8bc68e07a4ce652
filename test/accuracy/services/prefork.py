"""prefork.py HOP: worker processes accept from one shared socket, one request at a time."""
import os
import signal
import socket
import sys

from hops import PORTS, answer
from http_calls import fresh

WORKERS = 8
hop = sys.argv[1]


def read_head(connection):
    head = b""
    while b"\r\n\r\n" not in head:
        part = connection.recv(4096)
        if not part:
            return None
        head += part
    return head.decode("latin-1")


def work(listener):
    while True:
        connection, _ = listener.accept()
        with connection:
            head = read_head(connection)
            if head is None:
                continue
            body = answer(head.split(" ", 2)[1], fresh)
            connection.sendall(f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n{body}".encode())


listener = socket.socket()
listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
listener.bind(("127.0.0.1", PORTS[hop]))
listener.listen(128)
workers = []
for _ in range(WORKERS):
    pid = os.fork()
    if pid == 0:
        work(listener)
    workers.append(pid)


def end(*_):
    for pid in workers:
        os.kill(pid, signal.SIGTERM)
    os._exit(0)


signal.signal(signal.SIGTERM, end)
while True:
    signal.pause()
