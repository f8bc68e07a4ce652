"""asyncio_service.py HOP [sleeps|parallel]: asyncio's own streams as server and as client, calls over connections that are kept in pools.

sleeps: random ones before and after each call; parallel: all calls at once.
"""
import asyncio
import random
import sys

from hops import CALLS, PORTS, child_id

pools = {hop: [] for hop in PORTS}
way = sys.argv[2] if len(sys.argv) > 2 else ""


async def pause():
    if way == "sleeps":
        await asyncio.sleep(min(random.expovariate(1 / 0.001), 0.008))


async def read_head(reader):
    return (await reader.readuntil(b"\r\n\r\n")).decode()


async def call(hop, path):
    reader, writer = pools[hop].pop() if pools[hop] else await asyncio.open_connection("127.0.0.1", PORTS[hop])
    writer.write(f"GET {path} HTTP/1.1\r\nHost: {hop}\r\n\r\n".encode())
    head = await read_head(reader)
    length = next(int(line.split(":")[1]) for line in head.split("\r\n") if line.lower().startswith("content-length"))
    body = (await reader.readexactly(length)).decode()
    pools[hop].append((reader, writer))
    return body


async def answer(path):
    _, hop, request_id = path.split("/")
    await pause()
    calls = [(target, f"/{target}/{child_id(request_id, target)}") for target in CALLS[hop]]
    parts = await asyncio.gather(*(call(*one) for one in calls)) if way == "parallel" else []
    for one in calls if way != "parallel" else []:
        parts.append(await call(*one))
        await pause()
    return f"{hop}({','.join(parts)})"


async def serve(reader, writer):
    try:
        while True:
            head = await read_head(reader)
            body = (await answer(head.split(" ")[1])).encode()
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
    except asyncio.IncompleteReadError:
        writer.close()


async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", PORTS[sys.argv[1]], backlog=128)
    await server.serve_forever()


asyncio.run(main())
