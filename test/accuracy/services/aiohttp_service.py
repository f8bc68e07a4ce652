"""aiohttp_service.py HOP [parallel]: aiohttp as server and as client, all calls over one session's pool."""
import sys

from aiohttp import ClientSession, web

from async_calls import answer, get_with_aiohttp
from hops import PORTS


async def handle(request):
    session = request.app["session"]
    return web.Response(text=await answer(request.path, get_with_aiohttp(session), "parallel" in sys.argv))


async def hold_session(app):
    async with ClientSession() as session:
        app["session"] = session
        yield


app = web.Application()
app.cleanup_ctx.append(hold_session)
app.router.add_get("/{hop}/{request_id}", handle)
web.run_app(app, host="127.0.0.1", port=PORTS[sys.argv[1]], access_log=None, print=None)
