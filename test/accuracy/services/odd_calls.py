"""The calling ends of HTTP exchanges that are legal, or at least happen, but are not a plain request and response."""
import socket

BACK = ("127.0.0.1", 9002)


def connect():
    connection = socket.create_connection(BACK)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def read_response(stream, method="GET"):
    """Status and body length of the next response that is not 1xx."""
    while True:
        status = int(stream.readline().split()[1])
        headers = {}
        while (line := stream.readline().strip()):
            name, _, value = line.partition(b":")
            headers[name.lower()] = value.strip()
        if status >= 200:
            break
    size = 0
    if headers.get(b"transfer-encoding") == b"chunked":
        while (chunk := int(stream.readline(), 16)) > 0:
            size += len(stream.read(chunk))
            stream.readline()
        stream.readline()
    elif method != "HEAD":
        size = len(stream.read(int(headers[b"content-length"])))
    return status, size


def request(method, path, *headers):
    return "".join(f"{line}\r\n" for line in (f"{method} {path} HTTP/1.1", "Host: back", *headers, "")).encode()


def one(method, name, request_id, *then):
    """One request, then others on the same connection: their spans are right only if the first one's end was found."""
    with connect() as connection, connection.makefile("rb") as stream:
        for verb, path in ((method, name), *then):
            connection.sendall(request(verb, f"/{path}/{request_id}"))
            read_response(stream, verb)


def chunked(request_id):
    one("GET", "chunked", request_id, ("GET", "after-chunked"))


def head(request_id):
    one("HEAD", "head", request_id, ("GET", "after-head"))


def big(request_id):
    body = b"x" * 1_000_000
    with connect() as connection, connection.makefile("rb") as stream:
        connection.sendall(request("POST", f"/big/{request_id}", f"Content-Length: {len(body)}") + body)
        assert read_response(stream) == (200, 1_000_000)
        connection.sendall(request("GET", f"/after-big/{request_id}"))
        read_response(stream)


def pipelined(request_id):
    with connect() as connection, connection.makefile("rb") as stream:
        connection.sendall(b"".join(request("GET", f"/{name}/{request_id}") for name in ("pipelined-200", "pipelined-404", "pipelined-201")))
        assert [read_response(stream)[0] for _ in range(3)] == [200, 404, 201]


def refused(_request_id):
    try:
        socket.create_connection((BACK[0], 9))
    except ConnectionRefusedError:
        return
    raise AssertionError("somebody listens on the discard port")


def reset(request_id):
    with connect() as connection, connection.makefile("rb") as stream:
        connection.sendall(request("GET", f"/reset/{request_id}"))
        try:
            read_response(stream)
        except ConnectionResetError:
            return
    raise AssertionError("the connection was not reset")


def expect_continue(request_id):
    with connect() as connection, connection.makefile("rb") as stream:
        connection.sendall(request("POST", f"/expect-continue/{request_id}", "Content-Length: 5", "Expect: 100-continue"))
        assert stream.readline().split()[1] == b"100" and stream.readline() == b"\r\n"
        connection.sendall(b"hello")
        assert read_response(stream)[0] == 201


def early_answer(request_id):
    with connect() as connection, connection.makefile("rb") as stream:
        connection.sendall(request("POST", f"/early-answer/{request_id}", "Content-Length: 200000") + b"y" * 1000)
        assert read_response(stream)[0] == 413


CALLS = {
    "chunked": chunked,
    "head": head,
    "big": big,
    "pipelined": pipelined,
    "refused": refused,
    "reset": reset,
    "expect-continue": expect_continue,
    "early-answer": early_answer,
}
