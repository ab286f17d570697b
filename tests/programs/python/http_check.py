"""Clients of requests, aiohttp and websockets for http_server.py: http_check.py HOST:PORT."""

import asyncio
import hashlib
import io
import os
import sys
from concurrent.futures import ThreadPoolExecutor

import aiohttp
import requests
import websockets

where = sys.argv[1]
url = f"http://{where}"


def with_requests():
    session = requests.Session()
    session.trust_env = False
    body = os.urandom(3_000_000)
    for data in (body, iter([body[:1000], body[1000:]])):  # with a length, and in chunks
        answer = session.post(f"{url}/echo", data=data, timeout=30)
        assert answer.content == body and answer.headers["x-method"] == "POST", answer.headers
    assert session.head(f"{url}/digest", timeout=30).status_code == 200
    assert session.get(f"{url}/nothing", timeout=30).status_code == 404
    assert session.get(f"{url}/redirect", timeout=30).text == hashlib.sha256().hexdigest()
    session.get(f"{url}/cookies", timeout=30)
    assert session.get(f"{url}/cookies", timeout=30).json() == {"one": "1", "two": "2"}
    files = {"file": ("name.bin", io.BytesIO(body))}
    assert session.post(f"{url}/digest", files=files, timeout=30).status_code == 200
    with session.get(f"{url}/events", stream=True, timeout=30) as answer:
        lines = [line for line in answer.iter_lines() if line]
    assert lines == [f"data: {number}".encode() for number in range(20)], lines
    try:
        session.get(f"{url}/slow", timeout=0.2)
        raise AssertionError("the timeout did not pass")
    except requests.Timeout:
        pass
    assert session.get(f"{url}/slow", timeout=30).text == "slow"
    with ThreadPoolExecutor(16) as pool:
        def one(number):
            data = os.urandom(number * 100)
            return requests.put(f"{url}/echo", data=data, timeout=30).content == data
        assert all(pool.map(one, range(100)))


async def with_aiohttp():
    timeout = aiohttp.ClientTimeout(total=30)
    async with aiohttp.ClientSession(timeout=timeout) as session:
        async def one(number):
            body = os.urandom(number * 1000)
            async with session.post(f"{url}/echo", data=body) as answer:
                assert await answer.read() == body
        await asyncio.gather(*(one(number) for number in range(100)))

        async def parts():
            for number in range(100):
                yield f"part {number}\n".encode()
                await asyncio.sleep(0)
        async with session.post(f"{url}/echo", data=parts()) as answer:
            assert (await answer.text()).count("part") == 100
        async with session.put(f"{url}/digest", data=b"x" * 100_000, expect100=True) as answer:
            assert await answer.text() == hashlib.sha256(b"x" * 100_000).hexdigest()
        async with session.get(f"{url}/events") as answer:
            assert (await answer.text()).count("data: ") == 20
        async with session.ws_connect(f"{url}/ws") as socket:
            await socket.send_str("from aiohttp")
            assert await socket.receive_str() == "from aiohttp"


async def with_websockets():
    async def one(number):
        async with websockets.connect(f"ws://{where}/ws", max_size=16 << 20, proxy=None) as socket:
            for message in (f"text {number}", os.urandom(number * 10_000)):
                await socket.send(message)
                assert await socket.recv() == message
            await (await socket.ping())
    await asyncio.wait_for(asyncio.gather(*(one(number) for number in range(20))), 30)


with_requests()
asyncio.run(with_aiohttp())
asyncio.run(with_websockets())
print("good")
