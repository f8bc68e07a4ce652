"""For uvicorn: a FastAPI application; HOP_CLIENT says which client it calls with, HOP_PARALLEL that all calls go at once."""
import os

from fastapi import FastAPI
from fastapi.responses import PlainTextResponse

from async_calls import answer, get_with_aiohttp, get_with_httpx

app = FastAPI()
parallel = "HOP_PARALLEL" in os.environ


@app.on_event("startup")
async def open_client():
    if os.environ["HOP_CLIENT"] == "httpx":
        import httpx

        app.state.get = get_with_httpx(httpx.AsyncClient(timeout=30))
    else:
        import aiohttp

        app.state.get = get_with_aiohttp(aiohttp.ClientSession())


@app.get("/{hop}/{request_id}", response_class=PlainTextResponse)
async def handle(hop: str, request_id: str):
    return await answer(f"/{hop}/{request_id}", app.state.get, parallel)
