"""A server of aiohttp: http_server.py PORT."""

import asyncio
import hashlib
import sys

from aiohttp import WSMsgType, web


async def echo(request):
    """Sends the body back, after all of it: most clients do not read while they send."""
    return web.Response(body=await request.read(), headers={"X-Method": request.method})


async def digest(request):
    """The hash of the body."""
    digest = hashlib.sha256()
    async for part in request.content.iter_any():
        digest.update(part)
    return web.Response(text=digest.hexdigest())


async def events(request):
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await response.prepare(request)
    for number in range(20):
        await response.write(f"data: {number}\n\n".encode())
        await asyncio.sleep(0.01)
    return response


async def slow(request):
    await asyncio.sleep(1)
    return web.Response(text="slow")


async def websocket(request):
    """Sends every message back."""
    socket = web.WebSocketResponse(max_msg_size=16 << 20)
    await socket.prepare(request)
    async for message in socket:
        if message.type == WSMsgType.TEXT:
            await socket.send_str(message.data)
        elif message.type == WSMsgType.BINARY:
            await socket.send_bytes(message.data)
    return socket


async def redirect(request):
    raise web.HTTPFound("/digest")


async def cookies(request):
    response = web.json_response(dict(request.cookies))
    response.set_cookie("one", "1")
    response.set_cookie("two", "2")
    return response


app = web.Application(client_max_size=64 << 20)
app.router.add_route("*", "/echo", echo)
app.router.add_route("*", "/digest", digest)
for path, handler in [
    ("/events", events), ("/slow", slow), ("/ws", websocket), ("/redirect", redirect), ("/cookies", cookies),
]:
    app.router.add_get(path, handler)
web.run_app(app, port=int(sys.argv[1]), print=None)
