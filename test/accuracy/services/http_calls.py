"""Three ways in which programs hold their connections to other services."""
import http.client
import queue
import threading

from hops import PORTS


def exchange(connection, path):
    connection.request("GET", path)
    response = connection.getresponse()
    body = response.read().decode()
    if response.status != 200:
        raise RuntimeError(f"{path}: {response.status}")
    return body


def fresh(hop, path):
    """A new connection for each call."""
    connection = http.client.HTTPConnection("127.0.0.1", PORTS[hop])
    try:
        connection.putrequest("GET", path)
        connection.putheader("Connection", "close")
        connection.endheaders()
        response = connection.getresponse()
        body = response.read().decode()
        if response.status != 200:
            raise RuntimeError(f"{path}: {response.status}")
        return body
    finally:
        connection.close()


kept = threading.local()


def per_thread(hop, path):
    """Each thread keeps its own connections."""
    connections = kept.__dict__.setdefault("connections", {})
    if hop not in connections:
        connections[hop] = http.client.HTTPConnection("127.0.0.1", PORTS[hop])
    return exchange(connections[hop], path)


pools = {hop: queue.LifoQueue() for hop in PORTS}


def pooled(hop, path):
    """All threads borrow from one pool."""
    try:
        connection = pools[hop].get_nowait()
    except queue.Empty:
        connection = http.client.HTTPConnection("127.0.0.1", PORTS[hop])
    body = exchange(connection, path)
    pools[hop].put(connection)
    return body


WAYS = {"fresh": fresh, "thread": per_thread, "pool": pooled}
