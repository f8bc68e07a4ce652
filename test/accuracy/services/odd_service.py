"""odd_service.py PORT: GET /do/NAME/ID makes the odd call NAME to the service on the next port; all other paths are its answering end."""
import socket
import struct
import sys
import threading

from odd_calls import CALLS


def reply(connection, status, size=2, *headers):
    connection.sendall("".join(f"{line}\r\n" for line in (f"HTTP/1.1 {status} Said", f"Content-Length: {size}", *headers, "")).encode() + b"z" * size)


def chunked(connection):
    connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    for size in (1, 700, 16, 5000):
        connection.sendall(f"{size:x}\r\n".encode() + b"c" * size + b"\r\n")
    connection.sendall(b"0\r\n\r\n")


def reset(connection):
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 10000\r\n\r\n" + b"r" * 100)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    raise ConnectionAbortedError


def serve(connection):
    buffer = b""
    while True:
        while b"\r\n\r\n" not in buffer:
            part = connection.recv(65536)
            if not part:
                return
            buffer += part
        head, _, buffer = buffer.partition(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        name, argument = lines[0].split()[1].split("/", 2)[1:]
        headers = dict(line.lower().split(": ", 1) for line in lines[1:])
        if name == "early-answer":
            reply(connection, 413, 2, "Connection: close")
            return
        if headers.get("expect") == "100-continue":
            connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        left = int(headers.get("content-length", 0)) - len(buffer)
        buffer = buffer if left <= 0 else b""
        while left > 0:
            left -= len(connection.recv(min(left, 65536)))
        if name == "do":
            call, request_id = argument.split("/")
            CALLS[call](request_id)
            reply(connection, 200)
        elif name == "chunked":
            chunked(connection)
        elif name == "head":
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n")
        elif name == "big":
            reply(connection, 200, 1_000_000)
        elif name == "reset":
            reset(connection)
        else:
            reply(connection, {"pipelined-404": 404, "pipelined-201": 201, "expect-continue": 201}.get(name, 200))


def work(connection):
    with connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            serve(connection)
        except ConnectionError:
            pass


with socket.create_server(("0.0.0.0", int(sys.argv[1]))) as listener:
    while True:
        threading.Thread(target=work, args=(listener.accept()[0],), daemon=True).start()
