"""pools.py HOP WAY: programs in which the thread that reads a request is not the one that works on it.

worker    a thread for each connection reads, one of 16 workers calls and answers
selector  one thread reads from all connections, one of 16 workers calls and answers
waiting   a thread for each connection reads, waits for one of 16 workers, answers itself
per-call  a thread for each connection starts a thread for each call, all calls at once
"""
import queue
import selectors
import socket
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

from hops import CALLS, PORTS, answer, child_id, pause
from http_calls import fresh, pooled

WORKERS = 16
hop, way = sys.argv[1], sys.argv[2]
jobs = queue.SimpleQueue()


def read_path(connection):
    """The path of the next request; None at the end of the connection."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        part = connection.recv(4096)
        if not part:
            return None
        head += part
    return head.split(b" ", 2)[1].decode()


def respond(connection, body):
    body = body.encode()
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))


def work():
    while True:
        connection, path = jobs.get()
        respond(connection, answer(path, pooled))


def read_and_hand_over(connection):
    while (path := read_path(connection)) is not None:
        jobs.put((connection, path))


def read_and_wait(connection):
    while (path := read_path(connection)) is not None:
        respond(connection, executor.submit(answer, path, pooled).result())


def call_all_at_once(connection):
    while (path := read_path(connection)) is not None:
        _, name, request_id = path.split("/")
        pause()
        parts = {}

        def one(target):
            parts[target] = fresh(target, f"/{target}/{child_id(request_id, target)}")

        threads = [threading.Thread(target=one, args=(target,)) for target in CALLS[name]]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        pause()
        respond(connection, f"{name}({','.join(parts[target] for target in CALLS[name])})")


def select(listener):
    """Nobody pipelines: a connection is watched again when its worker has answered."""
    selector = selectors.DefaultSelector()
    selector.register(listener, selectors.EVENT_READ)
    while True:
        for key, _ in selector.select():
            if key.fileobj is listener:
                connection, _ = listener.accept()
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                selector.register(connection, selectors.EVENT_READ)
                continue
            path = read_path(key.fileobj)
            if path is None:
                selector.unregister(key.fileobj)
                key.fileobj.close()
            else:
                jobs.put((key.fileobj, path))


READERS = {"worker": read_and_hand_over, "waiting": read_and_wait, "per-call": call_all_at_once}

executor = ThreadPoolExecutor(WORKERS)
if way in ("worker", "selector"):
    for _ in range(WORKERS):
        threading.Thread(target=work, daemon=True).start()
listener = socket.create_server(("127.0.0.1", PORTS[hop]), backlog=128)
if way == "selector":
    select(listener)
while True:
    connection, _ = listener.accept()
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    threading.Thread(target=READERS[way], args=(connection,), daemon=True).start()
