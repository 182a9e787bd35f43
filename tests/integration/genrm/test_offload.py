"""The judge's memory over real sockets and processes: who wakes it, who puts it to sleep, and what comes of trouble."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import textwrap
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from chaos.processes import Worker
from genrm import Judge, JudgeGarbage, NoVerdictError, OffloadError, OffloadRefused, Reason, SampleError, Settings
from genrm.offload import vllm
from genrm.reward_function import compute_score, compute_score_batch
from mock_server import MockServer
from offload_support import eventually
from served import served

Factory = Callable[..., MockServer]
T = TypeVar("T")
RIGHT = "2 + 2 = 4, so \\boxed{4}"
CHAT = "/v1/chat/completions"
CONTROL = ("/sleep", "/wake_up", "/pause", "/resume", "/collective_rpc")
# vLLM 0.10.0 answers strangers while it is being put to sleep, so that it is no place for the tests with strangers.
OLD_AND_NEW = ["vllm-0.32.0", "vllm-0.28.0", "vllm-0.23.0", "vllm-0.16.0"]
PATIENCE = 60.0


def run(work: Awaitable[T]) -> T:
    """In an event loop that ends with it, so that its user of the judge leaves. Fails where it hangs."""

    async def in_time() -> T:
        return await asyncio.wait_for(work, PATIENCE)

    return asyncio.run(in_time())


@pytest.fixture
def settings(tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """The settings of a judge at a server: nothing sleeps by itself, and nothing is asked but samples."""

    def make(server: MockServer | str, **more: Any) -> dict[str, Any]:
        return {
            "BASE_URL": server if isinstance(server, str) else server.base_url,
            "USE_OFFLOAD": True,
            "OFFLOAD_LEDGER": "file",
            "OFFLOAD_DIR": str(tmp_path / "ledger"),
            "IDLE_LINGER": 60,
            "CANARY": "off",
            "BASE_DELAY": 0,
            "ON_NO_VERDICT": "raise",
            **more,
        }

    return make


Make = Callable[..., dict[str, Any]]


async def score(settings: dict[str, Any], number: int = 0, split: str = "train", **more: Any) -> float:
    """The reward of a sample; those with even numbers are right."""
    answer = number + 2 + number % 2
    solution = more.get("solution", f"{number} + 2 = {answer}, so \\boxed{{{answer}}}")
    info = {"question": f"What is {number} + 2?", "split": split}
    return (await compute_score("mine", solution, str(number + 2), info, **settings))["score"]


async def score_many(settings: dict[str, Any], count: int) -> list[float]:
    return await asyncio.gather(*(score(settings, number) for number in range(count)))


def expected(count: int) -> list[float]:
    return [1.0 - number % 2 for number in range(count)]


def told(server: MockServer) -> list[str]:
    """What the server was told to do with its memory, in order."""
    return [exchange.path for exchange in server.journal if exchange.path in CONTROL]


def assert_manners(server: MockServer) -> None:
    """No request came while the judge slept, and none was in flight when it was told to sleep."""
    for exchange in server.journal:
        assert exchange.state
        if exchange.path == CHAT:
            assert (exchange.state.scheduling, exchange.state.asleep) == ("run", ()), exchange
        if exchange.path == "/sleep":
            assert (exchange.state.running, exchange.state.waiting) == (0, 0), exchange


async def post(server: MockServer | str, path: str, **body: Any) -> httpx.Response:
    """A stranger's call."""
    url = server if isinstance(server, str) else server.base_url
    async with httpx.AsyncClient(timeout=PATIENCE) as http:
        return await http.post(url + path, **body)


@asynccontextmanager
async def a_strangers_request(server: MockServer) -> AsyncIterator[asyncio.Task[httpx.Response]]:
    """Tokens that go on for as long as nobody ends them."""
    body = {"messages": [{"role": "user", "content": "Go on."}], "max_tokens": 20_000, "ignore_eos": True}
    task = asyncio.create_task(post(server, CHAT, json=body))
    await eventually(lambda: server.engine.running)
    yield task
    task.cancel()


class TestAsItShould:
    @pytest.mark.parametrize("profile", [*OLD_AND_NEW, "vllm-0.10.0"])
    def test_the_first_wakes_and_the_last_sleeps(
        self, mock_server_factory: Factory, settings: Make, profile: str
    ) -> None:
        server = mock_server_factory(profile=profile, tokens_per_second=5_000)
        mine = settings(server)

        async def two_batches() -> None:
            assert await score_many(mine, 20) == expected(20)
            assert not server.engine.asleep
            assert await score_many(mine, 20) == expected(20)

        httpx.post(server.base_url + "/sleep")
        run(two_batches())
        assert server.engine.asleep == {"weights", "kv_cache"}
        assert [path for path in told(server) if path in ("/sleep", "/wake_up")] == ["/sleep", "/wake_up", "/sleep"]
        assert len(server.requests) == 40
        assert_manners(server)

    def test_an_awake_judge_is_not_told_to_wake(self, mock_server: MockServer, settings: Make) -> None:
        run(score_many(settings(mock_server), 4))
        assert told(mock_server) == ["/sleep"]

    def test_after_the_linger(self, mock_server: MockServer, settings: Make) -> None:
        async def pause() -> None:
            await score_many(settings(mock_server, IDLE_LINGER=0.1), 4)
            await eventually(lambda: mock_server.engine.asleep)
            assert told(mock_server) == ["/sleep"]

        run(pause())

    @pytest.mark.parametrize("profile", ["vllm-0.32.0", "vllm-0.16.0"])
    def test_with_the_last_of_a_batch_before_its_reward_is_returned(
        self, mock_server_factory: Factory, settings: Make, profile: str
    ) -> None:
        server = mock_server_factory(profile=profile, tokens_per_second=5_000)
        mine = settings(server, BATCH_SIZE=8)
        asleep: list[bool] = []

        async def one(number: int, **more: Any) -> None:
            await score(mine, number, **more)
            asleep.append(bool(server.engine.asleep))

        async def batch() -> None:
            await asyncio.gather(*(one(number) for number in range(6)), one(0, solution=""))
            assert not any(asleep)
            await one(9, split="test")  # by the rule: no sample of the batch
            assert not any(asleep)
            await one(11)
            assert asleep[-1]
            await one(13)  # of the next batch: it wakes again
            assert not asleep[-1]

        run(batch())
        assert_manners(server)

    def test_what_counts_as_a_sample_of_the_batch(self, mock_server: MockServer, settings: Make) -> None:
        mine = settings(mock_server, BATCH_SIZE=4, VALIDATION="judge")

        async def batch() -> None:
            await score(mine, 0, split="val")  # judged, and none of the batch
            await score(mine, 0, split="test")
            await score(mine, 1, solution=" ")
            with pytest.raises(SampleError):
                await compute_score("mine", RIGHT, "4", {"split": "train"}, **mine)
            with pytest.raises(SampleError):
                await compute_score("mine", None, "4", {"question": "?"}, **mine)  # type: ignore[arg-type]
            assert told(mock_server) == []
            await score(mine, 0)
            assert told(mock_server) == ["/sleep"]

        run(batch())

    def test_two_event_loops_of_a_process_are_two_users(self, mock_server_factory: Factory, settings: Make) -> None:
        server = mock_server_factory(tokens_per_second=2_000)
        mine = settings(server)
        results: dict[int, list[float]] = {}

        def work(name: int) -> None:
            results[name] = run(score_many(mine, 10))

        httpx.post(server.base_url + "/sleep")
        threads = [threading.Thread(target=work, args=(name,)) for name in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert results == dict.fromkeys(range(3), expected(10))
        assert server.engine.asleep
        assert_manners(server)

    def test_a_script_leaves_the_judge_asleep(self, mock_server: MockServer, settings: Make) -> None:
        httpx.post(mock_server.base_url + "/sleep")
        count = 8
        records = compute_score_batch(
            ["m"] * count,
            [f"{n} + 2 = {n + 2 + n % 2}, so \\boxed{{{n + 2 + n % 2}}}" for n in range(count)],
            [str(n + 2) for n in range(count)],
            [{"question": f"{n} + 2?"} for n in range(count)],
            **settings(mock_server),
        )
        assert [record["score"] for record in records] == expected(count)
        assert told(mock_server) == ["/sleep", "/wake_up", "/sleep"]
        assert mock_server.engine.asleep

    def test_several_servers_wake_and_sleep_together(self, mock_server_factory: Factory, settings: Make) -> None:
        servers = [mock_server_factory(tokens_per_second=5_000) for _ in range(2)]
        httpx.post(servers[1].base_url + "/sleep")
        mine = settings(servers[0], BASE_URL=",".join(server.base_url for server in servers))
        assert run(score_many(mine, 20)) == expected(20)
        for server in servers:
            assert server.engine.asleep
            assert len(server.requests) > 2
            assert_manners(server)

    def test_canaries_are_asked_after_each_wake(self, mock_server: MockServer, settings: Make) -> None:
        run(score_many(settings(mock_server, CANARY="on"), 2))
        assert len(mock_server.requests) == 10


@pytest.fixture
def worker_log(tmp_path: Path) -> Iterator[Path]:
    """What workers say on stderr; it is shown when a test fails."""
    log = tmp_path / "workers.log"
    yield log
    if log.exists():
        print(log.read_text())


def sample(number: int) -> dict[str, Any]:
    answer = number + 2 + number % 2
    return {
        "id": str(number),
        "problem": f"What is {number} + 2?",
        "solution": f"{number} + 2 = {answer}, so \\boxed{{{answer}}}",
        "answer": str(number + 2),
    }


class Crew:
    """Workers in processes of their own, and what they made of their samples."""

    def __init__(self, settings: dict[str, Any], log: Path) -> None:
        self.verdicts: dict[int, Any] = {}
        self.when_done: Callable[[int], object] = lambda number: None
        self._environment = {f"GENRM_{name}": str(value) for name, value in settings.items()}
        self._log = log
        self.workers: list[Worker] = []

    async def hire(self) -> Worker:
        worker = Worker(self._environment, self._note, self._log)
        self.workers.append(worker)
        await worker.start()
        return worker

    def _note(self, outcome: dict[str, Any]) -> None:
        number = int(outcome["id"])
        self.verdicts[number] = outcome.get("error") or outcome["record"]["genrm_verdict"]
        self.when_done(number)

    async def __aenter__(self) -> Crew:
        return self

    async def __aexit__(self, *_exc: object) -> None:
        for worker in self.workers:
            await worker.kill()

    async def dismiss(self) -> None:
        assert await asyncio.gather(*(worker.stop() for worker in self.workers)) == [0] * len(self.workers)

    async def all_judged(self, count: int) -> None:
        await eventually(lambda: len(self.verdicts) == count)
        assert self.verdicts == {number: 1 - number % 2 for number in range(count)}


@pytest.fixture
def crew(worker_log: Path) -> Callable[[dict[str, Any]], Crew]:
    """Hire workers with these settings; none outlives the `async with`."""
    return lambda settings: Crew(settings, worker_log)


CrewOf = Callable[[dict[str, Any]], Crew]


class TestProcesses:
    def test_a_batch_from_eight_processes_is_one_wake_and_one_sleep(
        self, mock_server_factory: Factory, settings: Make, crew: CrewOf
    ) -> None:
        server = mock_server_factory(tokens_per_second=5_000)
        httpx.post(server.base_url + "/sleep")
        asleep: list[bool] = []

        async def batch() -> None:
            async with crew(settings(server, BATCH_SIZE=64)) as team:
                team.when_done = lambda number: asleep.append(bool(server.engine.asleep))
                workers = await asyncio.gather(*(team.hire() for _ in range(8)))
                for number in range(64):
                    await workers[number % 8].give([sample(number)])
                await team.all_judged(64)
                assert asleep[-1]
                assert told(server) == ["/sleep", "/wake_up", "/sleep"]
                await team.dismiss()

        run(batch())
        assert told(server) == ["/sleep", "/wake_up", "/sleep"]
        assert len(server.requests) == 64
        assert_manners(server)

    def test_killed_with_leases(self, mock_server_factory: Factory, settings: Make, crew: CrewOf) -> None:
        """The others see it, and put the judge to sleep all the same."""
        server = mock_server_factory(tokens_per_second=100)
        mine = settings(server, IDLE_LINGER=0.2)

        async def kill() -> None:
            async with crew(mine) as team:
                worker = await team.hire()
                await worker.give([sample(number) for number in range(6)])
                await eventually(lambda: server.engine.running == 6)
                left = await worker.kill()
                assert len(left) == 6
                server.engine.tokens_per_second = 10_000
                assert await score(mine) == 1.0
                await eventually(lambda: server.engine.asleep)

        run(kill())
        assert_manners(server)

    def test_killed_while_it_wakes_the_judge(self, mock_server: MockServer, settings: Make, crew: CrewOf) -> None:
        mine = settings(mock_server)

        async def kill() -> None:
            await post(mock_server, "/sleep")
            async with crew(mine) as team:
                worker = await team.hire()
                with mock_server.faults({"match": {"path": "/wake_up"}, "fault": "hang", "times": 1}):
                    await worker.give([sample(0)])
                    await eventually(lambda: "/wake_up" in told(mock_server))
                    await worker.kill()
                    assert await score(mine) == 1.0

        run(kill())
        assert told(mock_server) == ["/sleep", "/wake_up", "/wake_up", "/sleep"]
        assert_manners(mock_server)

    def test_killed_while_it_puts_the_judge_to_sleep(
        self, mock_server: MockServer, settings: Make, crew: CrewOf
    ) -> None:
        """Whether the /sleep is still under way is not known: it is finished before the judge is woken."""
        mine = settings(mock_server, BATCH_SIZE=1)

        async def kill() -> None:
            async with crew(mine) as team:
                worker = await team.hire()
                with mock_server.faults({"match": {"path": "/sleep"}, "fault": "hang", "times": 1}):
                    await worker.give([sample(0)])
                    await eventually(lambda: "/sleep" in told(mock_server))
                    await worker.kill()
                    assert await score(mine) == 1.0
                    assert mock_server.engine.asleep

        run(kill())
        assert told(mock_server)[:3] == ["/sleep", "/sleep", "/wake_up"]
        assert_manners(mock_server)

    def test_killed_while_its_sleep_drains(self, mock_server_factory: Factory, settings: Make, crew: CrewOf) -> None:
        """The contract's RACE: a wake_up is forgotten by the sleep that still waits for a stranger's request."""
        server = mock_server_factory(tokens_per_second=100, gpu_semantics=True)
        mine = settings(server, BATCH_SIZE=1, DRAIN_TIMEOUT=0.5)

        async def kill() -> None:
            async with crew(mine) as team:
                worker = await team.hire()
                async with a_strangers_request(server) as stranger:
                    await worker.give([sample(0)])
                    await eventually(lambda: "/sleep" in told(server))
                    await eventually(lambda: server.engine.is_paused)
                    await worker.kill()
                    server.engine.tokens_per_second = 10_000
                    assert await score_many(mine, 4) == expected(4)
                    assert (await stranger).status_code == 200
                await eventually(lambda: server.engine.asleep)
                assert not server.engine.dead
                assert await score(mine) == 1.0

        run(kill())
        assert server.engine.asleep


def script(text: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run Python code in a process of its own, with warnings as errors."""
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(text)],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


class TestALaunch:
    SCORE = """
        import asyncio, os
        from genrm.reward_function import compute_score
        async def main():
            return [await compute_score("m", "2 + 2 = 4", "4", {"question": f"2 + 2? {n}"}) for n in range(3)]
        """

    def environment(self, settings: dict[str, Any]) -> dict[str, str]:
        return {f"GENRM_{name}": str(value) for name, value in settings.items()}

    def test_it_leaves_nothing_open(self, mock_server: MockServer, settings: Make) -> None:
        """Warnings are errors: a socket, a database or a task that is left would be reported."""
        code = self.SCORE + "\n        print([r['genrm_verdict'] for r in asyncio.run(main())])"
        done = script(code, **self.environment(settings(mock_server)))
        assert (done.stdout, done.stderr) == ("[1, 1, 1]\n", "")
        assert mock_server.engine.asleep

    def test_two_judges_in_one_loop_both_sleep_when_it_ends(self, mock_server_factory: Factory, settings: Make) -> None:
        one, two = mock_server_factory(), mock_server_factory(tokens_per_second=5_000)
        code = (
            self.SCORE
            + """
        async def both():
            for url in URLS:
                await compute_score("m", "2 + 2 = 4", "4", {"question": "2 + 2?"}, BASE_URL=url)
        asyncio.run(both())
        """
        )
        done = script(
            f"URLS = {[one.base_url, two.base_url]}\n" + textwrap.dedent(code), **self.environment(settings(one))
        )
        assert (done.stdout, done.stderr) == ("", "")
        assert one.engine.asleep
        assert two.engine.asleep

    def test_it_ends_in_the_middle(self, mock_server: MockServer, settings: Make) -> None:
        """All tasks are cancelled at once: leases, looks and the wake itself."""
        code = (
            self.SCORE
            + """
        async def some():
            async with asyncio.timeout(0.3) if hasattr(asyncio, "timeout") else nothing():
                await asyncio.gather(*(main() for _ in range(20)))
        class nothing:
            async def __aenter__(self): asyncio.get_running_loop().call_later(0.3, asyncio.current_task().cancel)
            async def __aexit__(self, *_): pass
        try:
            asyncio.run(some())
        except (TimeoutError, asyncio.CancelledError):
            print("over")
        """
        )
        with mock_server.faults({"fault": "hang"}):
            done = script(code, **self.environment(settings(mock_server)))
        assert (done.stdout, done.stderr) == ("over\n", "")
        assert mock_server.engine.asleep

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
    def test_a_fork_is_a_user_of_its_own(self, mock_server: MockServer, settings: Make) -> None:
        code = (
            self.SCORE
            + """
        async def parent():
            await main()
            child = os.fork()
            if not child:
                os._exit(run_as_child())
            status = await asyncio.to_thread(os.waitpid, child, 0)
            await main()
            return os.waitstatus_to_exitcode(status[1])
        def run_as_child():
            import threading
            codes = []
            thread = threading.Thread(target=lambda: codes.append(len(asyncio.run(main()))))
            thread.start(); thread.join()
            return codes[0]
        import warnings
        warnings.simplefilter("ignore", DeprecationWarning)  # of forking with threads
        print(asyncio.run(parent()))
        """
        )
        done = script(code, **self.environment(settings(mock_server)))
        assert (done.stdout, done.stderr) == ("3\n", "")
        assert mock_server.engine.asleep
        assert told(mock_server) == ["/sleep"]
        assert_manners(mock_server)


class TestLeases:
    def test_an_error_gives_the_lease_back(self, mock_server: MockServer, settings: Make) -> None:
        mine = settings(mock_server, IDLE_LINGER=0.1, MAX_RETRIES=1)

        async def fail() -> None:
            with mock_server.faults({"fault": {"status": 400}}), pytest.raises(NoVerdictError):
                await score(mine)
            await eventually(lambda: mock_server.engine.asleep)

        run(fail())

    def test_a_cancelled_sample_gives_the_lease_back(self, mock_server: MockServer, settings: Make) -> None:
        mine = settings(mock_server, IDLE_LINGER=0.1)

        async def cancel() -> None:
            with mock_server.faults({"fault": "hang"}):
                tasks = [asyncio.create_task(score(mine, number)) for number in range(5)]
                await eventually(lambda: len(mock_server.requests) == 5)
                for task in tasks:
                    task.cancel()
                await asyncio.wait(tasks)
            await eventually(lambda: mock_server.engine.asleep)
            assert told(mock_server) == ["/sleep"]

        run(cancel())

    def test_nobody_sleeps_while_a_lease_is_held(self, mock_server_factory: Factory, settings: Make) -> None:
        """A sample that takes far longer than the linger."""
        server = mock_server_factory(tokens_per_second=1_000)
        mine = settings(server, IDLE_LINGER=0.02)
        assert run(score(mine)) == 1.0
        assert told(server) == ["/sleep"]
        assert_manners(server)


class TestStrangers:
    @pytest.mark.parametrize("profile", ["vllm-0.32.0", "vllm-0.28.0", "vllm-0.23.0"])
    @pytest.mark.parametrize("path", ["/sleep", "/sleep?level=0", "/pause", "/sleep?mode=keep"])
    def test_a_stranger_in_the_middle(
        self, mock_server_factory: Factory, settings: Make, profile: str, path: str
    ) -> None:
        """What it aborted is asked again, what hangs goes on, and no attempt is used up by it."""
        server = mock_server_factory(profile=profile, tokens_per_second=400)
        mine = settings(server, MAX_RETRIES=1, MAX_WORKERS=4)

        async def disturb() -> None:
            samples = asyncio.gather(*(score(mine, number) for number in range(8)))
            await eventually(lambda: server.engine.running == 4)
            await post(server, path)
            server.engine.tokens_per_second = 10_000
            assert await samples == expected(8)

        run(disturb())
        assert "/wake_up" in told(server)
        assert server.engine.is_sleeping

    def test_a_stranger_pauses_an_old_server(self, mock_server_factory: Factory, settings: Make) -> None:
        server = mock_server_factory(profile="vllm-0.16.0", tokens_per_second=400)
        mine = settings(server, MAX_RETRIES=1, MAX_WORKERS=4)

        async def disturb() -> None:
            samples = asyncio.gather(*(score(mine, number) for number in range(8)))
            await eventually(lambda: server.engine.running == 4)
            await post(server, "/pause")
            server.engine.tokens_per_second = 10_000
            assert await samples == expected(8)

        run(disturb())

    @pytest.mark.parametrize("profile", ["vllm-0.32.0", "vllm-0.16.0"])
    def test_a_strangers_request_that_never_ends_does_not_keep_the_judge_awake(
        self, mock_server_factory: Factory, settings: Make, profile: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        server = mock_server_factory(profile=profile, tokens_per_second=20)
        mine = settings(server, BATCH_SIZE=1, DRAIN_TIMEOUT=0.2)

        async def disturb() -> None:
            async with a_strangers_request(server) as stranger:
                await score(mine, solution="")
                assert server.engine.asleep
                assert (await stranger).json()["choices"][0]["finish_reason"] == "abort"

        run(disturb())
        assert "requests of others did not finish in 0.2 s; aborted" in caplog.text

    def test_a_stranger_wakes_the_judge_while_our_sleep_drains(
        self, mock_server_factory: Factory, settings: Make
    ) -> None:
        """The contract's RACE: then the memory sleeps while the scheduler runs, and the next request would kill it."""
        server = mock_server_factory(tokens_per_second=100, gpu_semantics=True)
        mine = settings(server, BATCH_SIZE=1)

        async def race() -> None:
            async with a_strangers_request(server) as stranger:
                last = asyncio.create_task(score(mine, solution=""))
                await eventually(lambda: server.engine.is_paused)
                await post(server, "/wake_up")
                server.engine.tokens_per_second = 10_000
                await last
                assert (await stranger).status_code == 200
            assert server.engine.asleep
            assert await score(mine) == 1.0

        run(race())
        assert not server.engine.dead

    def test_a_loop_that_ends_while_its_sleep_drains(self, mock_server_factory: Factory, settings: Make) -> None:
        """Its sleep goes on in the server; who wakes the judge next finishes it first."""
        server = mock_server_factory(tokens_per_second=100, gpu_semantics=True)
        mine = Settings.load(**{name.lower(): value for name, value in settings(server, IDLE_LINGER=0.1).items()})
        leaves, stays = Judge(mine), Judge(mine)

        async def disturb() -> None:
            from genrm import Sample

            def a_sample(number: int) -> Sample:
                return Sample(f"{number} + 2 = {number + 2}", str(number + 2), "m", {"question": f"{number} + 2?"})

            async with a_strangers_request(server) as stranger:
                server.engine.tokens_per_second = 10_000
                assert (await leaves.judge(a_sample(1))).verdict.value
                assert (await stays.judge(a_sample(2))).verdict.value
                server.engine.tokens_per_second = 100
                await eventually(lambda: server.engine.is_paused)
                closing = [asyncio.create_task(leaves.aclose())]
                server.engine.tokens_per_second = 10_000
                for number in range(3, 9):
                    assert (await stays.judge(a_sample(number))).verdict.value
                await asyncio.wait(closing)
                assert (await stranger).status_code == 200
            await stays.aclose()

        run(disturb())
        assert not server.engine.dead
        assert server.engine.asleep


class TestTheServerDies:
    @pytest.mark.parametrize("profile", ["vllm-0.32.0", "vllm-0.16.0"])
    def test_and_comes_back_in_the_middle_of_a_batch(
        self, mock_server_factory: Factory, settings: Make, profile: str
    ) -> None:
        server = mock_server_factory(profile=profile, tokens_per_second=400)
        mine = settings(server, BATCH_SIZE=12, MAX_RETRIES=1, MAX_WORKERS=6)

        async def die() -> None:
            samples = asyncio.gather(*(score(mine, number) for number in range(12)))
            await eventually(lambda: server.engine.running == 6)
            await post(server, "/_mock/kill?restart_after_s=0.3")
            server.engine.tokens_per_second = 10_000
            assert await samples == expected(12)

        run(die())
        assert server.engine.asleep
        assert_manners(server)

    @pytest.mark.parametrize("path", ["/wake_up", "/sleep", "/is_sleeping", "/version"])
    def test_and_comes_back_while_it_wakes_or_falls_asleep(
        self, mock_server: MockServer, settings: Make, path: str
    ) -> None:
        mine = settings(mock_server, BATCH_SIZE=4, MAX_RETRIES=1)
        death = {"match": {"path": path}, "times": 1, "fault": {"engine_death": {"restart_after_s": 0.2}}}

        async def die() -> None:
            await post(mock_server, "/sleep")
            with mock_server.faults(death):
                assert await score_many(mine, 4) == expected(4)

        run(die())
        assert mock_server.engine.asleep

    def test_and_stays_dead(self, mock_server: MockServer, settings: Make) -> None:
        mine = settings(mock_server, SAMPLE_TIMEOUT=0.5, WAKE_TIMEOUT=0.5)

        async def die() -> None:
            assert await score(mine) == 1.0
            with mock_server.faults({"fault": "engine_death"}), pytest.raises(NoVerdictError) as caught:
                await score(mine, 1)
            assert caught.value.reason == Reason.TIMEOUT
            with pytest.raises(NoVerdictError) as caught:  # one that finds it gone
                await score(mine, 2)
            assert caught.value.reason == Reason.TIMEOUT

        run(die())

    def test_before_anything_was_asked(self, mock_server: MockServer, settings: Make) -> None:
        mine = settings(mock_server, WAKE_TIMEOUT=0.3)
        mock_server.stop()
        with pytest.raises(NoVerdictError, match=r"did not wake up within 0\.3 s"):
            run(score(mine))


class TestRefusals:
    def test_no_dev_mode(self, mock_server_factory: Factory, settings: Make) -> None:
        server = mock_server_factory(dev_mode=False)
        with pytest.raises(OffloadRefused, match=r"VLLM_SERVER_DEV_MODE=1.*--enable-sleep-mode.*GENRM_USE_OFFLOAD=0"):
            run(score(settings(server)))
        assert server.journal == []

    @pytest.mark.parametrize("backend", ["vllm", "sglang"])
    def test_the_wrong_backend(self, settings: Make, backend: str) -> None:
        """An API that is neither."""
        with served(Starlette()) as url, pytest.raises(OffloadRefused, match=url):
            run(score(settings(url, SERVER_BACKEND=backend)))

    def test_vllm_taken_for_sglang(self, mock_server: MockServer, settings: Make) -> None:
        with pytest.raises(OffloadRefused, match="is it SGLang"):
            run(score(settings(mock_server, SERVER_BACKEND="sglang")))

    def test_it_says_that_it_wakes_and_does_not(self, settings: Make, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(vllm, "ASLEEP_SECONDS", 0.2)

        async def answer(request: Request) -> Response:
            return JSONResponse({"version": "0.32.0", "is_sleeping": True, "is_paused": True, "status": "awake"})

        paths = ("/version", "/is_sleeping", "/is_paused", "/wake_up", "/sleep")
        routes = [Route(path, answer, methods=["GET", "POST"]) for path in paths]
        reason = r"was told to wake up and did not within 0\.2 s"
        with served(Starlette(routes=routes)) as url, pytest.raises(OffloadError, match=reason):
            run(score(settings(url)))


class TestMemory:
    """On a simulated GPU."""

    @pytest.fixture
    def server(self, mock_server_factory: Factory) -> MockServer:
        return mock_server_factory(gpu_semantics=True, tokens_per_second=5_000)

    def test_training_still_has_the_memory(
        self, server: MockServer, settings: Make, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(vllm, "AGAIN_SECONDS", 0.02)
        mine = settings(server)

        async def wait() -> None:
            await post(server, "/sleep")
            async with httpx.AsyncClient(base_url=server.base_url) as http:
                (await http.put("/_mock/gpu", json={"claims": {"trainer": 70}})).raise_for_status()
                samples = asyncio.create_task(score_many(mine, 4))
                await eventually(lambda: told(server).count("/wake_up") > 3)
                assert not samples.done()
                (await http.put("/_mock/gpu", json={"claims": {}})).raise_for_status()
            assert await samples == expected(4)

        run(wait())
        assert_manners(server)

    def test_training_keeps_the_memory(self, server: MockServer, settings: Make) -> None:
        mine = settings(server, WAKE_TIMEOUT=0.3)

        async def wait() -> None:
            await post(server, "/sleep")
            async with httpx.AsyncClient(base_url=server.base_url) as http:
                await http.put("/_mock/gpu", json={"claims": {"trainer": 70}})
            with pytest.raises(NoVerdictError, match=r"did not wake up within 0\.3 s"):
                await score(mine)

        run(wait())
        assert server.requests == []

    def test_weights_that_are_lost_are_no_judge(self, server: MockServer, settings: Make) -> None:
        mine = settings(server, CANARY="on")
        httpx.post(server.base_url + "/sleep?level=2")  # a stranger's
        with pytest.raises(JudgeGarbage, match="GENRM_RELOAD_WEIGHTS=1"):
            run(score(mine))
        assert len(server.requests) == 8  # the canaries alone

    @pytest.mark.parametrize("profile", OLD_AND_NEW)
    def test_weights_that_a_stranger_lost_are_loaded_once(
        self, mock_server_factory: Factory, settings: Make, profile: str
    ) -> None:
        server = mock_server_factory(profile=profile, gpu_semantics=True)
        mine = settings(server, CANARY="on", RELOAD_WEIGHTS=True)
        httpx.post(server.base_url + "/sleep?level=2")
        assert run(score_many(mine, 4)) == expected(4)
        assert told(server).count("/collective_rpc") == 1

    @pytest.mark.parametrize("profile", OLD_AND_NEW)
    def test_level_2_loads_them_with_each_wake(
        self, mock_server_factory: Factory, settings: Make, profile: str
    ) -> None:
        server = mock_server_factory(profile=profile, gpu_semantics=True)
        mine = settings(server, CANARY="on", RELOAD_WEIGHTS=True, SLEEP_LEVEL=2, BATCH_SIZE=4)

        async def two_batches() -> None:
            for _ in range(2):
                assert await score_many(mine, 4) == expected(4)
                assert server.engine.asleep

        run(two_batches())
        assert told(server).count("/collective_rpc") == 1
        assert_manners(server)

    def test_a_judge_that_answers_nonsense_after_waking(self, mock_server_factory: Factory, settings: Make) -> None:
        server = mock_server_factory(scenario={"shapes": {"no_box": 1.0}})
        with pytest.raises(JudgeGarbage, match="0 of 8 canaries"):
            run(score(settings(server, CANARY="on")))
