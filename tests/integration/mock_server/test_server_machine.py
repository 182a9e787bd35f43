"""The whole server against a model of contract section 2: over a real socket, in whatever order things happen.

The model (engine_model.py) says after every step what each client must have read by now, and who still waits. Time
passes on the test's word only: nothing here depends on how fast the machine is.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections import Counter
from collections.abc import Callable, Coroutine
from typing import Any, NamedTuple, TypeVar

import httpx
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from engine_model import MODES, ODD_TAGS, TAGS, CallFailed, EngineModel, Pause, count
from hand_clock import HandClock
from hanging_clients import CHAT, COMPLETIONS, PATIENCE, TEXT, Asked, Client
from mock_server import MockServer

T = TypeVar("T")
ASK: dict[str, Any] = {"messages": [{"role": "user", "content": "x"}]}
Call = tuple[int, str, str, object]
"""The status to come, method, path and body."""
REFUSED: list[Call] = [
    (400, "POST", "/sleep?level=3", None),
    (400, "POST", "/sleep?level=-1", None),
    (400, "POST", "/sleep?level=abc", None),
    (400, "POST", "/sleep?level=1.5", None),
    (400, "POST", "/sleep?level=", None),
    (400, "POST", "/sleep?mode=junk", None),
    (400, "POST", "/pause?mode=junk", None),
    (400, "POST", "/pause?clear_cache=perhaps", None),
    (400, "POST", "/reset_prefix_cache?reset_running_requests=perhaps", None),
    (400, "POST", "/abort_requests", []),
    (400, "POST", CHAT, {"messages": []}),
    (400, "POST", CHAT, {**ASK, "max_tokens": 0, "stream": True}),
    (404, "POST", CHAT, {**ASK, "model": "nobody"}),
    (400, "POST", COMPLETIONS, {}),
    (400, "POST", COMPLETIONS, {"prompt": "x", "n": 0}),
]
ALWAYS_THERE: list[Call] = [
    *((200, "GET", path, None) for path in ("/health", "/ping", "/version", "/v1/models", "/load", "/server_info")),
    *((200, "POST", path, None) for path in ("/ping", "/reset_mm_cache", "/reset_encoder_cache")),
    (200, "POST", "/tokenize", {"prompt": "x"}),
]
SOME_TAGS = st.sampled_from(TAGS) | st.sampled_from(ODD_TAGS)
MAX_TOKENS = st.sampled_from([10, 1, 100])
"""Two of them cut the text off."""


def asked(stream: bool) -> st.SearchStrategy[Asked]:
    return st.builds(Asked, st.booleans(), st.just(stream), st.sampled_from([1, 2]), MAX_TOKENS, st.booleans())


class Bench(NamedTuple):
    """What the examples share."""

    loop: asyncio.AbstractEventLoop
    http: httpx.AsyncClient
    clock: HandClock

    def do(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """See a part of a test through, with an end to it also where the server hangs."""
        return self.loop.run_until_complete(asyncio.wait_for(coroutine, 2 * PATIENCE))

    async def text(self, path: str) -> str:
        return (await self.http.get(path)).text

    async def until(self, path: str, condition: Callable[[Any], bool]) -> None:
        """Look until it is so."""
        while not condition(json.loads(await self.text(path))):
            pass


class ServerMachine(RuleBasedStateMachine):
    """Does the same to the server and to the model, and compares what can be seen."""

    bench: Bench

    def __init__(self) -> None:
        super().__init__()
        self.model = EngineModel(at_once=self.bench.clock.engine.tokens_per_second is None)
        self.clients: list[Client] = []
        self.pauses: list[tuple[asyncio.Task[httpx.Response], Pause]] = []
        self.number = 0
        self.bench.do(self.bench.http.delete("/_mock/journal"))
        self.counted_before = finished(self.bench.do(self.bench.text("/metrics")))

    def teardown(self) -> None:
        """Everybody goes; what they leave behind in the engine ends with it."""
        tasks = [*(client.task for client in self.clients), *(task for task, _ in self.pauses)]
        for client in self.clients:
            client.task.cancel()
        clock = self.bench.clock
        clock.in_server(clock.engine.restart)
        if tasks:
            self.bench.do(asyncio.wait(tasks))
        clock.in_server(clock.engine.restart)  # a sleep that was pending has come over the first one

    # --- requests ---

    @initialize(several=st.lists(asked(stream=False) | asked(stream=True), max_size=3))
    def begin(self, several: list[Asked]) -> None:
        for asked in several:
            self.bench.do(self.asking(asked))

    @rule(asked=asked(stream=False))
    def ask(self, asked: Asked) -> None:
        self.bench.do(self.asking(asked))

    @rule(asked=asked(stream=True))
    def ask_for_a_stream(self, asked: Asked) -> None:
        self.bench.do(self.asking(asked))

    async def asking(self, asked: Asked) -> None:
        self.number += 1
        client = Client(self.bench.http, asked, f"r{self.number}")
        self.clients.append(client)
        self.model.submit(client.request)
        if asked.stream:  # its headers come at once, whatever the state
            await client.until(lambda seen: seen.status is not None)
        if not client.request.ended:
            await self.server_has_heard()

    @precondition(lambda self: self.clients)
    @rule(data=st.data())
    def hang_up(self, data: st.DataObject) -> None:
        client = self.clients.pop(data.draw(st.integers(0, len(self.clients) - 1)))
        client.task.cancel()
        self.model.drop(client.request)
        self.bench.do(asyncio.wait([client.task]))
        self.bench.do(self.server_has_heard())

    async def server_has_heard(self) -> None:
        """Of a request, or of its client's going: until as many are in flight as should be."""
        in_flight = count(self.model.in_flight)
        await self.bench.until("/_mock/state", lambda state: state["running"] + state["waiting"] == in_flight)

    @rule(seconds=st.sampled_from([1, 4, 30]))
    def let_time_pass(self, seconds: int) -> None:
        self.bench.clock.step(seconds)
        self.model.step(seconds)

    # --- sleep and wake ---

    @rule(level=st.sampled_from([0, 1, 2]), mode=st.sampled_from(MODES))
    def sleep(self, level: int, mode: str) -> None:
        self.bench.do(self.pausing(f"/sleep?level={level}&mode={mode}", self.model.sleep(level, mode)))

    @rule(mode=st.sampled_from(MODES), clear=st.booleans())
    def pause(self, mode: str, clear: bool) -> None:
        path = f"/pause?mode={mode}&clear_cache={json.dumps(clear)}"
        self.bench.do(self.pausing(path, self.model.pause(mode, clear)))

    # Left to chance, something seldom runs that could be waited for, and seldom is anything done meanwhile.
    @precondition(lambda self: self.model.running)
    @rule(level=st.sampled_from([0, 1, 2]))
    def drain(self, level: int) -> None:
        self.sleep(level, "wait")

    @precondition(lambda self: self.model.drains)
    @rule(clear=st.none() | st.booleans())
    def disturb_the_drain(self, clear: bool | None) -> None:
        if clear is None:
            self.wake_up(None)
        else:
            self.pause("keep", clear)

    @rule(path=st.sampled_from(["/sleep?", "/pause?"]))
    def by_default(self, path: str) -> None:
        pause = self.model.sleep(1, "abort") if path == "/sleep?" else self.model.pause("abort", clear_cache=True)
        self.bench.do(self.pausing(path, pause, json={"level": 2, "mode": "keep", "clear_cache": False}))

    async def pausing(self, path: str, pause: Pause, **ignored: Any) -> None:
        self.number += 1
        # A key that is not known is ignored; by it the journal tells that the call has come.
        key = f"call={self.number}"

        def come(journal: Any) -> bool:
            return any(exchange["query"].endswith(key) for exchange in journal["exchanges"])

        sending = self.bench.http.post(f"{path}&{key}", **ignored)
        self.pauses.append((asyncio.get_running_loop().create_task(sending), pause))
        if not pause.done:
            await self.bench.until("/_mock/journal", come)

    @rule(tags=st.none() | SOME_TAGS)
    def wake_up(self, tags: list[str] | None) -> None:
        self.answers("/wake_up", lambda: self.model.wake_up(tags), params={"tags": tags} if tags else None)

    @precondition(lambda self: self.model.asleep)
    @rule(tags=SOME_TAGS)
    def wake_up_in_parts(self, tags: list[str]) -> None:
        self.wake_up(tags)

    @rule()
    def resume(self) -> None:
        self.answers("/resume", self.model.resume)

    @rule(data=st.data())
    def abort_requests(self, data: st.DataObject) -> None:
        names = ["unknown", *(client.request.engine_id for client in self.clients)]
        ids = data.draw(st.none() | st.lists(st.sampled_from(names), min_size=1, max_size=3))
        body = {} if ids is None else {"request_ids": ids}
        self.answers("/abort_requests", lambda: self.model.abort_requests(ids), json=body)

    # What becomes of a pending pause then, the contract leaves open.
    @precondition(lambda self: self.model.in_flight and not self.model.drains)
    @rule(running=st.booleans())
    def reset_prefix_cache(self, running: bool) -> None:
        query = {"reset_running_requests": True} if running else {}
        self.answers("/reset_prefix_cache", lambda: self.model.reset_prefix_cache(running), params=query)

    @rule()
    def release_kv_cache_memory(self) -> None:
        self.answers("/release_kv_cache_memory", self.model.release_kv_cache_memory)

    def answers(self, path: str, call: Callable[[], object], **sent: Any) -> None:
        """Send what the model is told, too; it knows the answer."""
        answer = self.bench.do(self.bench.http.post(path, **sent))
        try:
            status, body = 200, call()
        except CallFailed as failed:
            error = {"message": str(failed), "type": "InternalServerError", "param": None, "code": 500}
            status, body = 500, {"error": error}
        assert (answer.status_code, answer.json()) == (status, body)

    # --- what changes nothing ---

    @rule(call=st.sampled_from(REFUSED) | st.sampled_from(ALWAYS_THERE))
    def answered_at_once(self, call: Call) -> None:
        status, method, path, body = call
        assert self.bench.do(self.bench.http.request(method, path, json=body)).status_code == status

    @rule()
    def metrics(self) -> None:
        page, model = self.bench.do(self.bench.text("/metrics")), self.model
        assert samples(page, "num_requests_running") == [model.shown_running]
        assert samples(page, "num_requests_waiting") == [0]  # they hang, and it does not tell
        levels = {"awake": None, "weights_offloaded": 1, "discard_all": 2}
        told = {name: samples(page, "engine_sleep_state", f'sleep_state="{name}"') for name in levels}
        assert told == {name: [level == model.shown_level] for name, level in levels.items()}
        assert finished(page) - self.counted_before == +model.counted

    # --- comparing ---

    @invariant()
    def looks_the_same(self) -> None:
        self.bench.do(self.compare_pauses())
        self.bench.do(self.compare_state())
        self.bench.do(self.compare_clients())

    async def compare_pauses(self) -> None:
        for task, pause in self.pauses:
            if pause.done:
                answer = await asyncio.wait_for(asyncio.shield(task), PATIENCE)
                assert (answer.status_code, answer.json()) == (200, pause.answer)
            assert task.done() == pause.done
        self.pauses = [(task, pause) for task, pause in self.pauses if not pause.done]

    async def compare_state(self) -> None:
        model = self.model
        assert json.loads(await self.bench.text("/is_paused")) == {"is_paused": model.is_paused}
        assert json.loads(await self.bench.text("/is_sleeping")) == {"is_sleeping": model.is_sleeping}
        state = json.loads(await self.bench.text("/_mock/state"))
        assert (state["engine"]["scheduling"], set(state["engine"]["asleep"])) == (model.sched, model.asleep)
        assert (state["running"], state["waiting"]) == (count(model.running), count(model.waiting))

    async def compare_clients(self) -> None:
        for client in self.clients:
            expected = client.foreseen
            if client.request.ended:
                await asyncio.wait_for(asyncio.shield(client.task), PATIENCE)
            elif client.asked.stream:
                await client.until(lambda seen, texts=expected.texts: seen.texts == texts)  # type: ignore[misc]
            assert client.seen == expected
            assert client.task.done() == expected.done
        self.clients = [client for client in self.clients if not client.request.ended]


def samples(page: str, name: str, label: str = "") -> list[float]:
    """The values of a metric, perhaps only of those with a certain label."""
    lines = re.findall(rf"^vllm:{name}{{(.*)}} (\S+)$", page, re.MULTILINE)
    return [float(value) for labels, value in lines if label in labels]


def finished(page: str) -> Counter[str]:
    """The finished requests, by reason."""
    found = re.findall(r'^vllm:request_success_total{.*finished_reason="(\w+)".*} (\S+)$', page, re.MULTILINE)
    return Counter({reason: int(float(number)) for reason, number in found})


@pytest.mark.parametrize(("tokens_per_second", "examples"), [(1, 60), (None, 15)], ids=["by and by", "at once"])
def test_server_machine(tokens_per_second: float | None, examples: int, monkeypatch: pytest.MonkeyPatch) -> None:
    server = MockServer(scenario={"unrecognised": TEXT}, tokens_per_second=tokens_per_second)
    clock = HandClock(server.engine)
    monkeypatch.setattr(server.engine, "run", clock.run)
    loop = asyncio.new_event_loop()
    # No connection is used again that the server may be closing for being idle.
    limits = httpx.Limits(max_connections=None, keepalive_expiry=1)
    with server:
        http = httpx.AsyncClient(base_url=server.base_url, timeout=None, limits=limits, trust_env=False)

        class Machine(ServerMachine):
            bench = Bench(loop, http, clock)

        run_state_machine_as_test(
            Machine, settings=settings(max_examples=examples, stateful_step_count=25, deadline=None)
        )
        loop.run_until_complete(http.aclose())
    loop.close()
