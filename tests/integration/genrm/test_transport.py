"""The client at the real socket: connections that go stale, break, lie and never end."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest

from genrm import BadReply, JudgeError, JudgeTimeout, JudgeUnreachable, Settings
from genrm.client import MAX_BODY_BYTES, ChatClient, open_client
from raw_server import COMPLETION, Behaviour, raw_server, response

MESSAGES = [{"role": "user", "content": "How many?"}]


@contextlib.asynccontextmanager
async def client_of(url: str, **overrides: Any) -> AsyncIterator[ChatClient]:
    client = open_client(Settings.load(base_url=url, **overrides))
    try:
        yield client
    finally:
        await client.aclose()


async def answer(_number: int, writer: asyncio.StreamWriter) -> None:
    writer.write(response(COMPLETION))


async def test_connections_are_kept() -> None:
    async with raw_server(answer) as server, client_of(server.url) as client:
        for _ in range(5):
            assert (await client.complete(MESSAGES)).text == "\\boxed{True}"
    assert (server.connections, server.requests) == (1, 5)


async def test_a_connection_that_was_closed_while_idle_is_no_failure() -> None:
    async with raw_server(answer) as server, client_of(server.url) as client:
        await asyncio.gather(*(client.complete(MESSAGES) for _ in range(8)))
        server.close_idle_connections()
        await asyncio.gather(*(client.complete(MESSAGES) for _ in range(8)))


async def test_nor_is_one_that_closes_as_the_next_request_arrives() -> None:
    """The race that no look at the socket can win: the server closes while the request is under way."""

    async def close_on_the_second(number: int, writer: asyncio.StreamWriter) -> None:
        if number == 0:
            writer.write(response(COMPLETION))
        else:
            writer.close()

    async with raw_server(close_on_the_second) as server, client_of(server.url) as client:
        for _ in range(4):
            assert (await client.complete(MESSAGES)).finish_reason == "stop"
    assert server.connections == 4


async def test_nor_are_several_stale_ones_in_a_row() -> None:
    barrier = asyncio.Event()

    async def close_on_the_second(number: int, writer: asyncio.StreamWriter) -> None:
        await barrier.wait()
        if number == 0:
            writer.write(response(COMPLETION))
        else:
            writer.close()

    async with raw_server(close_on_the_second) as server, client_of(server.url) as client:
        waiting = [asyncio.ensure_future(client.complete(MESSAGES)) for _ in range(3)]
        while server.requests < 3:
            await asyncio.sleep(0)
        barrier.set()
        await asyncio.gather(*waiting)
        assert server.connections == 3
        assert (await client.complete(MESSAGES)).finish_reason == "stop"
    assert (server.connections, server.requests) == (4, 7)


async def _close(_number: int, writer: asyncio.StreamWriter) -> None:
    writer.close()


async def _reset(_number: int, writer: asyncio.StreamWriter) -> None:
    sock = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    writer.transport.abort()


def _write_and_close(data: bytes) -> Behaviour:
    async def behave(_number: int, writer: asyncio.StreamWriter) -> None:
        writer.write(data)
        await writer.drain()
        writer.close()

    return behave


CHUNKED = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    ("behave", "kind"),
    [
        pytest.param(_close, JudgeUnreachable, id="closed without an answer"),
        pytest.param(_reset, JudgeUnreachable, id="reset"),
        pytest.param(_write_and_close(response(COMPLETION)[:-9]), JudgeUnreachable, id="body cut, fixed length"),
        pytest.param(_write_and_close(CHUNKED + b'5\r\n{"cho\r\n'), JudgeUnreachable, id="body cut, chunked"),
        pytest.param(_write_and_close(CHUNKED + b"zz\r\nnope\r\n0\r\n\r\n"), JudgeUnreachable, id="malformed chunk"),
        pytest.param(_write_and_close(b"SSH-2.0-OpenSSH_9.2\r\n"), JudgeUnreachable, id="no HTTP"),
        pytest.param(_write_and_close(response(b"x", headers="content-encoding: gzip\r\n")), BadReply, id="no gzip"),
        pytest.param(_write_and_close(response(b"{}")), BadReply, id="no completion"),
    ],
)
async def test_what_breaks_is_named(behave: Behaviour, kind: type[JudgeError]) -> None:
    async with raw_server(behave) as server, client_of(server.url) as client:
        with pytest.raises(kind) as caught:
            await client.complete(MESSAGES)
    assert type(caught.value) is kind
    assert caught.value.url == f"{server.url}/v1/chat/completions"
    assert server.requests == 1


async def test_nobody_listens() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        async with client_of(f"http://127.0.0.1:{free.getsockname()[1]}") as client:
            with pytest.raises(JudgeUnreachable, match="ConnectError"):
                await client.complete(MESSAGES)


async def test_a_name_that_does_not_resolve_is_no_timeout() -> None:
    async with client_of("http://no-such-host.invalid:30000") as client:
        with pytest.raises(JudgeUnreachable, match=r"no-such-host\.invalid"):
            await client.complete(MESSAGES)


async def test_a_body_without_end_is_cut_off() -> None:
    async def for_ever(_number: int, writer: asyncio.StreamWriter) -> None:
        writer.write(CHUNKED)
        while True:
            writer.write(b"10000\r\n" + b" " * 0x10000 + b"\r\n")
            await writer.drain()

    async with raw_server(for_ever) as server, client_of(server.url) as client:
        with pytest.raises(BadReply, match=str(MAX_BODY_BYTES)):
            await client.complete(MESSAGES)


async def test_a_drip_does_not_outlast_the_deadline() -> None:
    async def drip(_number: int, writer: asyncio.StreamWriter) -> None:
        writer.write(CHUNKED)
        while True:
            writer.write(b"1\r\n \r\n")
            await writer.drain()
            await asyncio.sleep(0.01)

    async with raw_server(drip) as server, client_of(server.url, request_timeout=0.2) as client:
        with pytest.raises(JudgeTimeout, match=r"no whole reply within 0\.2 s"):
            await client.complete(MESSAGES)


async def test_a_hang_before_the_headers_does_not_outlast_the_deadline() -> None:
    async def hang(_number: int, writer: asyncio.StreamWriter) -> None:
        await asyncio.Event().wait()

    async with raw_server(hang) as server, client_of(server.url, request_timeout=0.2) as client:
        with pytest.raises(JudgeTimeout):
            await client.complete(MESSAGES)


async def test_proxies_of_the_environment_are_for_external_judges_only(monkeypatch: pytest.MonkeyPatch) -> None:
    async with raw_server(answer) as proxy, raw_server(answer) as server:
        monkeypatch.setenv("http_proxy", proxy.url)
        monkeypatch.delenv("no_proxy", raising=False)
        monkeypatch.delenv("NO_PROXY", raising=False)
        async with client_of(server.url) as client:
            await client.complete(MESSAGES)
        assert (proxy.requests, server.requests) == (0, 1)
        async with client_of("http://api.invalid", server_backend="openai") as client:
            await client.complete(MESSAGES)
        assert proxy.requests == 1
