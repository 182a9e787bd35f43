"""What a fault does to a request, at the real socket. Through uvicorn as far as that can go, past it where it cannot.

uvicorn sends no bad chunk, no reset and no silence. Its transport (http_server.py puts it into the request's state) can
be written to and closed; after that the client is gone for uvicorn as if it had hung up by itself.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Awaitable, Callable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mock_server.errors import ApiError
from mock_server.faults.replies import Reply, altered
from mock_server.faults.schema import Cut, Drip, FaultKind, Status
from mock_server.replies import wire
from mock_server.replies.refusals import ErrorShape

# Linger 0: what has not been sent is thrown away and the peer gets an RST.
_RESET = struct.pack("ii", 1, 0)


class Connection:
    """One request's side of its connection: the body that has been read, and the ways to end it badly."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scope = scope
        self.send = send
        self.body = b""
        self._receive = receive
        self._unread = False

    async def read(self) -> bool:
        """Read the body. False if the client went away before its end."""
        pieces = []
        while True:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                return False
            pieces.append(message.get("body", b""))
            if not message.get("more_body"):
                break
        self.body = b"".join(pieces)
        self._unread = True
        return True

    async def receive(self) -> Message:
        """What the application reads: the body once more, then whatever comes."""
        if self._unread:
            self._unread = False
            return {"type": "http.request", "body": self.body, "more_body": False}
        return await self._receive()

    async def gone(self) -> None:
        """Wait until the client has gone."""
        while (await self._receive())["type"] != "http.disconnect":
            pass

    async def pause(self, seconds: float) -> bool:
        """Wait; returns whether the client has gone meanwhile."""
        if seconds <= 0:
            return False
        try:
            await asyncio.wait_for(self.gone(), seconds)
        except asyncio.TimeoutError:
            return False
        return True

    async def start(self, reply: Reply) -> None:
        """Status and headers."""
        await self.send({"type": "http.response.start", "status": reply.status, "headers": reply.headers})

    async def say(self, data: bytes, more: bool = True) -> None:
        """A part of the body."""
        await self.send({"type": "http.response.body", "body": data, "more_body": more})

    async def close(self) -> None:
        """Close the connection (FIN) with what has been said so far."""
        self._transport.close()
        await self.gone()

    async def reset(self) -> None:
        """Reset the connection (RST)."""
        self._transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self._transport.abort()
        await self.gone()

    def write(self, data: bytes) -> None:
        """Bytes as they are, past HTTP."""
        self._transport.write(data)

    @property
    def _transport(self) -> asyncio.Transport:
        transport: asyncio.Transport = self.scope["state"]["transport"]
        return transport


async def act(fault: FaultKind, app: ASGIApp, connection: Connection, errors: ErrorShape) -> None:
    """Let one fault happen to one request. `app` would answer it; some faults do not let it."""
    if fault.status:
        await _refuse(connection, fault.status, errors)
    elif fault.hang:
        await connection.gone()
    elif fault.close:
        await connection.close()
    elif fault.reset and fault.reset.after is None:
        await connection.reset()
    elif fault.engine_death:
        await app(connection.scope, connection.receive, connection.send)
    else:
        reply = altered(await _answered(app, connection), fault, errors)
        await _sending(fault)(connection, reply)


def _sending(fault: FaultKind) -> Callable[[Connection, Reply], Awaitable[None]]:
    if fault.drip:
        drip = fault.drip
        return lambda connection, reply: _drip(connection, reply, drip)
    if fault.cut:
        cut = fault.cut
        return lambda connection, reply: _cut(connection, reply, cut)
    if fault.reset:
        share = fault.reset.after or 0.0
        return lambda connection, reply: _reset_after(connection, reply, share)
    return _malformed_chunk if fault.malformed_chunk else _whole


async def _answered(app: ASGIApp, connection: Connection) -> Reply:
    """What the application answers, complete."""
    reply = Reply()
    pieces = []

    async def keep(message: Message) -> None:
        if message["type"] == "http.response.start":
            reply.status, reply.headers = message["status"], list(message["headers"])
        else:
            pieces.append(message.get("body", b""))

    await app(connection.scope, connection.receive, keep)
    reply.body = b"".join(pieces)
    return reply


async def _refuse(connection: Connection, status: Status, errors: ErrorShape) -> None:
    kind = "BadRequestError" if status.code < 500 else "InternalServerError"
    error = ApiError(status.code, kind, status.message)
    response = wire.body(errors.body(error), status.code)
    after = status.retry_after
    if after is not None:
        response.headers["retry-after"] = f"{after:g}" if isinstance(after, float) else after
    await response(connection.scope, connection.receive, connection.send)


async def _whole(connection: Connection, reply: Reply) -> None:
    await connection.start(reply)
    await connection.say(reply.body, more=False)


async def _drip(connection: Connection, reply: Reply, drip: Drip) -> None:
    await connection.start(reply)
    for at in range(0, len(reply.body), drip.bytes):
        await connection.say(reply.body[at : at + drip.bytes])
        if await connection.pause(drip.seconds):
            return
    await connection.say(b"", more=False)


async def _cut(connection: Connection, reply: Reply, cut: Cut) -> None:
    if cut.framing == "length":
        reply = reply.with_header(b"content-length", b"%d" % len(reply.body))
    elif cut.framing == "chunked":
        reply = reply.with_header(b"content-length", None)
    await connection.start(reply)
    await connection.say(reply.body[: int(len(reply.body) * cut.at)])
    await connection.close()


async def _reset_after(connection: Connection, reply: Reply, share: float) -> None:
    await connection.start(reply)
    await connection.say(reply.body[: int(len(reply.body) * share)])
    await connection.reset()


async def _malformed_chunk(connection: Connection, reply: Reply) -> None:
    half = len(reply.body) // 2
    await connection.start(reply.with_header(b"content-length", None))
    # In one write, so that at least these two reach every client together.
    good = b"%x\r\n" % half + reply.body[:half] + b"\r\n"
    connection.write(good + b"not-a-length\r\n" + reply.body[half:] + b"\r\n0\r\n\r\n")
    await connection.close()
