"""What every service on an event loop does: call the next hops, no timer between; and how it calls with each client."""
import asyncio

from hops import CALLS, PORTS, child_id


async def answer(path, get, parallel=False):
    """path: /hop/id; await get(url) -> body."""
    _, hop, request_id = path.split("/")
    urls = [f"http://127.0.0.1:{PORTS[target]}/{target}/{child_id(request_id, target)}" for target in CALLS[hop]]
    parts = await asyncio.gather(*map(get, urls)) if parallel else [await get(url) for url in urls]
    return f"{hop}({','.join(parts)})"


def get_with_aiohttp(session):
    async def get(url):
        async with session.get(url) as response:
            response.raise_for_status()
            return await response.text()

    return get


def get_with_httpx(client):
    async def get(url):
        response = await client.get(url)
        response.raise_for_status()
        return response.text

    return get
