"""What every request passes before its endpoint: it goes into the journal, gets its script, and may meet a fault."""

from __future__ import annotations

import time
from collections.abc import Callable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mock_server.engine.machine import Engine
from mock_server.faults.acts import Connection, act
from mock_server.faults.plan import COMPLETIONS, Call
from mock_server.faults.schema import EngineDeath, FaultKind
from mock_server.journal import Exchange, Journal
from mock_server.replies.refusals import ErrorShape
from mock_server.scripts import Script, Scripts

CONTROL = "/_mock"
"""The prefix of the control API. Nothing under it is journaled, and no fault befalls it."""


class Stage:
    """ASGI middleware. Without a fault plan it costs a dictionary look-up and an entry in the journal."""

    def __init__(
        self,
        app: ASGIApp,
        engine: Engine,
        scripts: Scripts,
        journal: Journal,
        kill: Callable[[EngineDeath], None],
        errors: ErrorShape,
    ) -> None:
        self.app = app
        self.engine = engine
        self.scripts = scripts
        self.journal = journal
        self.kill = kill
        self.errors = errors

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, note it, and perhaps let it go wrong."""
        if scope["type"] != "http" or scope["path"].startswith(CONTROL):
            await self.app(scope, receive, send)
            return
        started = time.perf_counter()
        exchange, script = self._opened(scope)
        try:
            if script.plan.covers(exchange.path):
                await self._with_faults(script, exchange, Connection(scope, receive, send))
            elif exchange.completion:
                await self.app(scope, receive, send)  # its endpoint notes the status
            else:
                await self.app(scope, receive, _noting(send, exchange))
        finally:
            self.journal.end(exchange, time.perf_counter() - started)

    def _opened(self, scope: Scope) -> tuple[Exchange, Script]:
        name = next((value.decode("latin-1") for key, value in scope["headers"] if key == b"x-mock-scope"), "")
        path, method = scope["path"], scope["method"]
        exchange = Exchange(path, scope=name, method=method, state=self.engine.snapshot())
        exchange.completion = method == "POST" and path in COMPLETIONS
        if scope["query_string"]:
            exchange.query = scope["query_string"].decode("latin-1")
        # What only looks (GET) would push out what matters: pollers are many.
        if method == "POST":
            self.journal.add(exchange)
        script = self.scripts.of(name)
        scope["mock.exchange"], scope["mock.judge"] = exchange, script.judge
        return exchange, script

    async def _with_faults(self, script: Script, exchange: Exchange, connection: Connection) -> None:
        connection.send = _noting(connection.send, exchange)
        if not await connection.read():
            return
        plan = script.plan
        query = exchange.query.encode("latin-1")
        running = self.engine.running > 0
        call = Call.read(exchange.path, exchange.scope, connection.body, plan.form, query, running)
        numbers = plan.matching(call)
        if numbers:
            chosen = plan.chosen(call, script.counts.next(call), numbers)
            exchange.faults = chosen.notes
            if chosen.notes and not exchange.number:
                self.journal.add(exchange)
            if await connection.pause(chosen.delay):
                return
            if chosen.fault:
                await self._befall(chosen.fault, connection)
                return
        await self.app(connection.scope, connection.receive, connection.send)

    async def _befall(self, fault: FaultKind, connection: Connection) -> None:
        death = fault.engine_death
        if death and not death.behind:
            self.kill(death)
        await act(fault, self.app, connection, self.errors)
        if death and death.behind:
            self.kill(death)


def _noting(send: Send, exchange: Exchange) -> Send:
    """Notes the status that is really sent, last: the endpoint may think otherwise."""

    async def sending(message: Message) -> None:
        await send(message)
        if message["type"] == "http.response.start":
            exchange.status = message["status"]

    return sending
