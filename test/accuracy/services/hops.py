"""What every Python service of the test does: wait a little, call the next hops in order, answer with all ids of the tree."""
import hashlib
import random
import time

CALLS = {"a": ["b", "c"], "b": ["d"], "c": [], "d": []}
PORTS = {"a": 8001, "b": 8002, "c": 8003, "d": 8004}


def child_id(request_id, hop):
    """Ids that start with h are hashed anew for each hop: nothing in the bytes tells which call belongs to which request."""
    if not request_id.startswith("h"):
        return request_id
    return "h" + hashlib.sha256(f"{request_id}/{hop}".encode()).hexdigest()[:15]


def pause():
    time.sleep(min(random.expovariate(1 / 0.001), 0.008))


def answer(path, call):
    """path: /hop/id; call(hop, path) -> body."""
    _, hop, request_id = path.split("/")
    pause()
    parts = []
    for target in CALLS[hop]:
        parts.append(call(target, f"/{target}/{child_id(request_id, target)}"))
        pause()
    return f"{hop}({','.join(parts)})"
