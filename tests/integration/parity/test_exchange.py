"""How an answer ended: what http.client keeps quiet about is told."""

from __future__ import annotations

import asyncio

import pytest

from parity.cases import Request
from parity.exchange import Exchange
from raw_server import raw_server

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(("rest", "ending"), [(b"0\r\n\r\n", "complete"), (b"", "cut"), (b"9\r\ndat", "cut")])
async def test_a_stream_that_breaks_off_is_cut(rest: bytes, ending: str) -> None:
    async def stream(_number: int, writer: asyncio.StreamWriter) -> None:
        writer.write(HEAD + b"9\r\ndata: 1\n\n\r\n" + rest)
        await writer.drain()
        writer.close()

    async with raw_server(stream) as server:
        exchange = Exchange(server.url, Request("POST", "/"))
        assert await asyncio.to_thread(exchange.join, 20)
    assert exchange.ending == ending
    assert exchange.events == 1
