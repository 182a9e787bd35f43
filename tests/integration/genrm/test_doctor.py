"""What the doctor finds at a server, for everything that can be wrong with one."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
from rich.console import Console
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from genrm import Settings
from genrm.judge import Judge
from genrm.offload.gateway import open_offload
from genrm.workbench.doctor import answers, memory, servers
from genrm.workbench.doctor import judge as doctor_judge
from genrm.workbench.doctor.findings import Finding, Level
from genrm.workbench.doctor.judge import examine_judge
from genrm.workbench.doctor.report import Report
from mock_server.server import MockServer
from served import served

Servers = Callable[..., MockServer]
Examine = Callable[..., Any]


@pytest.fixture
def examine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Examine:
    """Examine a judge by these settings; gives the findings."""
    # Only loopback is reached by tests.
    monkeypatch.setattr(doctor_judge, "own_addresses", list)
    monkeypatch.setenv("GENRM_OFFLOAD_DIR", str(tmp_path))

    async def run(url: str, *, round_trip: bool | None = None, timeout: float = 60, **settings: Any) -> list[Finding]:
        report = Report(Console(file=io.StringIO()))
        await examine_judge(report, Settings.load(base_url=url, **settings), round_trip, timeout)
        return report.findings

    return run


def said(findings: list[Finding], level: Level) -> list[str]:
    return [finding.what for finding in findings if finding.level is level]


def the_failure(findings: list[Finding]) -> Finding:
    """The only one."""
    [failure] = [finding for finding in findings if finding.level is Level.FAILED]
    return failure


def is_sleeping(server: MockServer) -> bool:
    return bool(httpx.get(f"{server.base_url}/is_sleeping").json()["is_sleeping"])


class TestASoundJudge:
    async def test_all_is_well(self, mock_server: MockServer, examine: Examine) -> None:
        findings = await examine(mock_server.base_url)
        assert {finding.level for finding in findings} <= {Level.OK, Level.SKIPPED}
        assert said(findings, Level.OK)[:3] == [
            "vLLM 0.32.0",
            "it serves genrm-demo",
            "max_model_len 32,768 less GENRM_MAX_TOKENS 2,048 leaves 30,720 tokens for the prompt",
        ]
        assert "8 of 8 canaries have the verdict that is known" in said(findings, Level.OK)
        assert "structured outputs are kept to (structured_outputs)" in said(findings, Level.OK)
        assert len(mock_server.requests) == 9
        assert not [exchange.path for exchange in mock_server.journal if "sleep" in exchange.path]

    async def test_several(self, mock_server_factory: Servers, examine: Examine) -> None:
        servers = [mock_server_factory(), mock_server_factory(profile="vllm-0.28.0")]
        findings = await examine(",".join(server.base_url for server in servers))
        assert [what for what in said(findings, Level.OK) if what.startswith("vLLM")] == ["vLLM 0.32.0", "vLLM 0.28.0"]
        assert [len(server.requests) for server in servers] == [9, 9]

    async def test_an_external_api(self, mock_server_factory: Servers, examine: Examine) -> None:
        server = mock_server_factory(api_key="sk-1", dev_mode=False)
        findings = await examine(server.base_url, server_backend="openai", api_key="sk-1")
        assert said(findings, Level.FAILED) == []
        assert "structured outputs: asked of vLLM and SGLang only" in said(findings, Level.SKIPPED)


class TestReaching:
    async def test_nobody_listens(self, mock_server_factory: Servers, examine: Examine) -> None:
        server = mock_server_factory()
        server.stop()
        failure = the_failure(await examine(server.base_url))
        assert failure.what.startswith(f"no answer: {server.base_url}/version")
        assert failure.fix == "start the server, or set GENRM_BASE_URL to where it listens"

    async def test_one_of_two_is_dead(self, mock_server_factory: Servers, examine: Examine) -> None:
        alive, dead = mock_server_factory(), mock_server_factory()
        dead.stop()
        findings = await examine(f"{dead.base_url},{alive.base_url}")
        assert dead.base_url in the_failure(findings).what
        assert "8 of 8 canaries have the verdict that is known" in said(findings, Level.OK)

    async def test_one_that_never_answers(
        self, mock_server_factory: Servers, examine: Examine, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(doctor_judge, "PROBE_SECONDS", 0.2)
        server = mock_server_factory(scenario={"faults": [{"match": {"path": "/version"}, "fault": "hang"}]})
        assert the_failure(await examine(server.base_url)).what == "what it is: nothing within 0.2 s"

    @pytest.mark.parametrize(
        ("key", "what"),
        [("", "the server wants a key, and none is set"), ("sk-wrong", "the server does not take GENRM_API_KEY")],
    )
    async def test_a_wrong_key(self, mock_server_factory: Servers, examine: Examine, key: str, what: str) -> None:
        findings = await examine(mock_server_factory(api_key="sk-right").base_url, api_key=key or "EMPTY")
        assert the_failure(findings).what == what
        assert "sk-" not in str(findings)

    async def test_a_wrong_model(self, mock_server: MockServer, examine: Examine) -> None:
        failure = the_failure(await examine(mock_server.base_url, model_name="judge"))
        assert failure.what == "judge is not served here; there are: genrm-demo"
        assert failure.fix.startswith("GENRM_MODEL_NAME=genrm-demo, or")
        assert mock_server.requests == []

    @pytest.mark.parametrize(
        ("max_tokens", "level", "what"),
        [
            (2048, Level.FAILED, "leaves nothing for the prompt"),
            (1500, Level.WARNING, "leaves 548 tokens for the prompt: long solutions will be refused"),
        ],
    )
    async def test_no_room_for_the_prompt(
        self, mock_server_factory: Servers, examine: Examine, max_tokens: int, level: Level, what: str
    ) -> None:
        findings = await examine(mock_server_factory(max_model_len=2048).base_url, max_tokens=max_tokens)
        assert said(findings, level)[0] == f"max_model_len 2,048 less GENRM_MAX_TOKENS {max_tokens:,} {what}"

    @pytest.mark.parametrize(("offload", "level"), [(False, Level.WARNING), (True, Level.FAILED)])
    async def test_another_backend(
        self, mock_server: MockServer, examine: Examine, offload: bool, level: Level
    ) -> None:
        findings = await examine(mock_server.base_url, server_backend="sglang", use_offload=offload)
        assert said(findings, level) == ["it is vLLM 0.32.0, and GENRM_SERVER_BACKEND is sglang"]
        assert "GENRM_SERVER_BACKEND=vllm" in [finding.fix for finding in findings]

    async def test_what_others_can_reach(
        self, mock_server: MockServer, examine: Examine, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # Stands for an address of this host in its network: the server answers there, too.
        monkeypatch.setattr(doctor_judge, "own_addresses", lambda: ["127.0.0.1"])
        findings = await examine(mock_server.base_url.replace("127.0.0.1", "localhost"))
        [what] = said(findings, Level.WARNING)
        assert what.startswith(f"whoever reaches {mock_server.base_url} can put the judge to sleep")

    async def test_a_judge_on_another_host(
        self, mock_server: MockServer, examine: Examine, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(servers, "_is_loopback", lambda _host: False)
        findings = await examine(mock_server.base_url)
        [finding] = [finding for finding in findings if finding.level is Level.WARNING]
        assert finding.what.startswith(f"whoever reaches {mock_server.base_url}")
        assert "firewall" in finding.fix

    async def test_without_dev_mode_there_is_nothing_to_reach(
        self, mock_server_factory: Servers, examine: Examine, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(doctor_judge, "own_addresses", lambda: ["127.0.0.1"])
        assert said(await examine(mock_server_factory(dev_mode=False).base_url), Level.WARNING) == []


class TestAnswers:
    @pytest.mark.parametrize(
        ("scenario", "what", "fix"),
        [
            ({"errors": {"false_true": 1.0, "false_false": 1.0}}, "0 of 8 canaries", "is genrm-demo a judge, and"),
            ({"shapes": {"no_box": 1.0}}, "0 of 8 canaries have the verdict that is known; no verdict: no_box 8", "is"),
            ({"shapes": {"truncated": 1.0}}, "no verdict: truncated 8", "GENRM_MAX_TOKENS is 2048: more, or"),
            ({"faults": [{"fault": {"finish_reason": "abort"}}]}, "no verdict: aborted 8", "the server cuts its"),
            ({"faults": [{"fault": {"status": 400}}]}, "the judge refuses to be asked", "see what it says"),
            ({"faults": [{"fault": {"status": 503}}]}, "the judge did not reply", "the server's log says why"),
            ({"faults": [{"fault": "reset"}]}, "the judge did not reply", "the server's log says why"),
        ],
    )
    async def test_what_is_wrong_with_them(
        self, mock_server_factory: Servers, examine: Examine, scenario: dict[str, Any], what: str, fix: str
    ) -> None:
        failure = the_failure(await examine(mock_server_factory(scenario=scenario).base_url))
        assert what in failure.what
        assert failure.fix.startswith(fix)

    async def test_a_few_errors_pass(self, mock_server_factory: Servers, examine: Examine) -> None:
        wrong = [{"match": {"problem": problem}, "fault": "null_content"} for problem in ("2 + 3", "7 - 4")]
        findings = await examine(mock_server_factory(scenario={"faults": wrong}).base_url)
        assert "6 of 8 canaries have the verdict that is known; no verdict: empty 2" in said(findings, Level.OK)

    async def test_one_that_hangs(self, mock_server_factory: Servers, examine: Examine) -> None:
        server = mock_server_factory(scenario={"faults": [{"fault": "hang"}]})
        failure = the_failure(await examine(server.base_url, timeout=0.2))
        assert failure.what.startswith("the judge did not reply")
        assert failure.what.endswith("no whole reply within 0.2 s")
        assert "genrm offload status" in failure.fix

    async def test_a_slow_one(self, mock_server: MockServer, examine: Examine, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(answers, "SLOW_SHARE", 0.0)
        [what] = said(await examine(mock_server.base_url), Level.WARNING)
        assert what.endswith("s: longer solutions will be cut off")

    async def test_canaries_of_ones_own(self, mock_server: MockServer, examine: Examine, tmp_path: Path) -> None:
        file = tmp_path / "mine.jsonl"
        file.write_text('{"problem": "1 + 1?", "solution": "1 + 1 = 2, so \\\\boxed{2}", "label": false}\n')
        failure = the_failure(await examine(mock_server.base_url, canary=str(file)))
        assert failure.what == "0 of 1 canaries have the verdict that is known"

    async def test_no_canaries(self, mock_server_factory: Servers, examine: Examine) -> None:
        server = mock_server_factory(scenario={"errors": {"false_true": 1.0, "false_false": 1.0}})
        assert "8 of 8 replies hold a verdict" in said(await examine(server.base_url, canary="off"), Level.OK)


class TestStructuredOutputs:
    async def test_an_old_field_that_is_ignored(self, mock_server: MockServer, examine: Examine) -> None:
        failure = the_failure(await examine(mock_server.base_url, extra_body={"guided_choice": ["True", "False"]}))
        assert failure.what == "vLLM 0.32.0 ignores guided_choice of GENRM_EXTRA_BODY in silence"
        assert "structured_outputs" in failure.fix

    async def test_a_new_field_that_is_ignored(self, mock_server_factory: Servers, examine: Examine) -> None:
        body = {"structured_outputs": {"regex": ".*"}}
        findings = await examine(mock_server_factory(profile="vllm-0.10.0").base_url, extra_body=body)
        assert "vLLM 0.10.0 ignores structured_outputs" in the_failure(findings).what

    async def test_one_that_does_not_keep_to_them(self, examine: Examine) -> None:
        with served(_vllm(chat="I like \\boxed{True}")) as url:
            findings = await examine(url, canary="off")
        assert "structured outputs (structured_outputs) are ignored in silence" in said(findings, Level.WARNING)

    async def test_one_that_refuses_them(self, mock_server_factory: Servers, examine: Examine) -> None:
        fault = {"match": {"content": "favourite dish"}, "fault": {"status": 400}}
        findings = await examine(mock_server_factory(scenario={"faults": [fault]}).base_url)
        assert said(findings, Level.WARNING)[0].startswith("structured outputs are refused")


class TestSleeping:
    async def test_a_round_trip(self, mock_server: MockServer, examine: Examine) -> None:
        findings = await examine(mock_server.base_url, use_offload=True)
        assert said(findings, Level.FAILED) == []
        words = " ".join(said(findings, Level.OK))
        for word in ("dev mode is on", "0.32.0: it pauses before", "asleep after", "knows the canaries' verdicts"):
            assert word in words
        assert not is_sleeping(mock_server)
        assert "/sleep" in [exchange.path for exchange in mock_server.journal]

    async def test_it_is_left_asleep_where_it_was_found_so(self, mock_server: MockServer, examine: Examine) -> None:
        httpx.post(f"{mock_server.base_url}/sleep")
        findings = await examine(mock_server.base_url, use_offload=True)
        assert said(findings, Level.FAILED) == []
        assert {"it is asleep", "woken, so that it can be asked", "asleep again, as it was found"} <= set(
            said(findings, Level.OK)
        )
        assert is_sleeping(mock_server)

    async def test_it_is_asked_for_only(self, mock_server: MockServer, examine: Examine) -> None:
        await examine(mock_server.base_url, use_offload=True, round_trip=False)
        assert "/sleep" not in [exchange.path for exchange in mock_server.journal]
        await examine(mock_server.base_url, round_trip=True)
        assert "/sleep" in [exchange.path for exchange in mock_server.journal]

    async def test_asleep_and_nobody_wakes_it(self, mock_server: MockServer, examine: Examine) -> None:
        httpx.post(f"{mock_server.base_url}/sleep")
        findings = await examine(mock_server.base_url)
        assert the_failure(findings).what == "it is asleep: every request hangs until somebody wakes it"
        assert "it is asleep, and was not asked" in said(findings, Level.SKIPPED)
        assert mock_server.requests == []

    async def test_somebody_holds_a_lease(self, mock_server: MockServer, examine: Examine) -> None:
        settings = Settings.load(base_url=mock_server.base_url, use_offload=True)
        offload = open_offload(settings, Judge(settings).render_canary)
        try:
            async with offload.awake():
                findings = await examine(mock_server.base_url, use_offload=True)
                assert said(findings, Level.FAILED) == []
                [what] = [what for what in said(findings, Level.SKIPPED) if "was not put to sleep" in what]
                assert "(on this host) holds 1 lease" in what
                assert not is_sleeping(mock_server)
        finally:
            await offload.aclose()

    @pytest.mark.parametrize(
        ("asleep", "level", "what"),
        [
            (1.5, Level.OK, "38.5 GiB of GPU memory came back"),
            (39.9, Level.FAILED, "only 0.1 GiB of GPU memory came back"),
        ],
    )
    async def test_the_memory_that_comes_back(
        self,
        mock_server: MockServer,
        examine: Examine,
        monkeypatch: pytest.MonkeyPatch,
        asleep: float,
        level: Level,
        what: str,
    ) -> None:
        class Probe:
            def used(self) -> float:
                return asleep if is_sleeping(mock_server) else 40.0

        monkeypatch.setattr(memory, "open_probe", lambda _urls: Probe())
        assert what in said(await examine(mock_server.base_url, use_offload=True), level)

    async def test_no_dev_mode(self, mock_server_factory: Servers, examine: Examine) -> None:
        server = mock_server_factory(dev_mode=False)
        failure = the_failure(await examine(server.base_url, use_offload=True))
        assert "has no /is_sleeping, so it cannot be put to sleep" in failure.what
        assert "VLLM_SERVER_DEV_MODE=1" in failure.fix
        assert len(server.requests) == 9

    async def test_a_judge_that_is_not_sound_is_let_alone(self, mock_server_factory: Servers, examine: Examine) -> None:
        server = mock_server_factory(scenario={"shapes": {"no_box": 1.0}})
        findings = await examine(server.base_url, use_offload=True)
        assert "not tried: the judge is not sound" in said(findings, Level.SKIPPED)
        assert not is_sleeping(server)

    async def test_one_that_wakes_up_mad(self, mock_server_factory: Servers, examine: Examine) -> None:
        # Each canary is asked before it sleeps, and again when it has woken up.
        fault = {"match": {"path": "/v1/chat/completions"}, "when": {"nth": [2]}, "fault": "null_content"}
        findings = await examine(mock_server_factory(scenario={"faults": [fault]}).base_url, use_offload=True)
        assert "gave the known verdict on 0 of 8 canaries" in the_failure(findings).what

    async def test_one_that_cannot_sleep(self, mock_server_factory: Servers, examine: Examine) -> None:
        fault = {"match": {"path": "/sleep"}, "fault": {"status": 500}}
        failure = the_failure(
            await examine(mock_server_factory(scenario={"faults": [fault]}).base_url, use_offload=True)
        )
        assert "/sleep?level=1&mode=wait: HTTP 500" in failure.what

    @pytest.mark.parametrize(
        ("profile", "level", "words"),
        [
            ("vllm-0.10.0", Level.WARNING, ["its prefix cache is not emptied", "it has no /pause"]),
            ("vllm-0.16.0", Level.WARNING, ["/sleep alone does not pause it"]),
            ("vllm-0.23.0", Level.WARNING, ["waking a part of it"]),
            ("vllm-0.28.0", Level.OK, ["runs nothing before all of it is awake", "genrm goes by /is_sleeping"]),
            ("vllm-0.33.0", Level.OK, ["runs nothing before all of it is awake"]),
        ],
    )
    async def test_versions(
        self, mock_server_factory: Servers, examine: Examine, profile: str, level: Level, words: list[str]
    ) -> None:
        findings = await examine(mock_server_factory(profile=profile).base_url, use_offload=True)
        assert said(findings, Level.FAILED) == []
        rules = [what for what in said(findings, level) if what.startswith(profile.removeprefix("vllm-"))]
        for word in words:
            assert any(word in what for what in rules), rules

    async def test_a_ledger_that_cannot_be_used(
        self, mock_server: MockServer, examine: Examine, tmp_path: Path
    ) -> None:
        (tmp_path / "file").touch()
        findings = await examine(mock_server.base_url, use_offload=True, offload_dir=str(tmp_path / "file"))
        assert "the ledger of who needs the judge awake cannot be used" in the_failure(findings).what


@pytest.mark.parametrize(
    ("config", "level", "what"),
    [
        ({"model_config": {"enable_sleep_mode": True}}, Level.OK, "--enable-sleep-mode is on"),
        ({"model_config": {"enable_sleep_mode": False}}, Level.FAILED, "it was started without --enable-sleep-mode"),
        ("a text", Level.SKIPPED, "whether it was started with --enable-sleep-mode it does not say"),
    ],
)
async def test_what_vllm_says_of_its_flags(examine: Examine, config: Any, level: Level, what: str) -> None:
    with served(_vllm(config=config)) as url:
        findings = await examine(url, use_offload=True, round_trip=False, canary="off")
    assert any(text.startswith(what) for text in said(findings, level))


async def test_a_version_of_ones_own(examine: Examine) -> None:
    with served(_vllm(version="mine")) as url:
        findings = await examine(url, use_offload=True, round_trip=False, canary="off")
    assert "its version cannot be read; it is taken for the newest" in said(findings, Level.WARNING)


class TestSglang:
    FLAGS: Final = ("enable_memory_saver", "enable_weights_cpu_backup")

    async def test_a_server(self, examine: Examine) -> None:
        with _sglang(dict.fromkeys(self.FLAGS, True)) as url:
            findings = await examine(url, server_backend="sglang", use_offload=True, canary="off")
        assert said(findings, Level.FAILED) == []
        words = said(findings, Level.OK)
        assert words[0] == "SGLang 0.5.23"
        assert any(what.startswith("--enable-memory-saver is on") for what in words)
        assert any(what.startswith("asleep after") for what in words)

    async def test_without_its_flags(self, examine: Examine) -> None:
        with _sglang({"enable_memory_saver": True}) as url:
            findings = await examine(url, server_backend="sglang", use_offload=True, canary="off")
        failure = the_failure(findings)
        assert "was started without --enable-weights-cpu-backup" in failure.what
        assert failure.fix.startswith("Start SGLang with --enable-memory-saver")

    async def test_behind_a_router(self, examine: Examine) -> None:
        with _sglang(dict.fromkeys(self.FLAGS, True)) as worker, served(_router(worker)) as url:
            findings = await examine(url, server_backend="sglang", use_offload=True, canary="off")
        assert said(findings, Level.FAILED) == []
        assert "SGLang router" in said(findings, Level.OK)
        assert f"--enable-memory-saver is on at {worker}" in said(findings, Level.OK)

    async def test_a_wrong_key(self, examine: Examine) -> None:
        with _sglang({}, api_key="sk-1") as url:
            assert the_failure(await examine(url, server_backend="sglang", api_key="sk-2")).what == (
                "the server does not take GENRM_API_KEY"
            )

    @pytest.mark.parametrize("admin", ["sk-admin", "EMPTY"])
    async def test_two_keys(self, examine: Examine, admin: str) -> None:
        flags = dict.fromkeys(self.FLAGS, True)
        with _sglang(flags, api_key="sk-1", admin_key="sk-admin") as url:
            findings = await examine(
                url, server_backend="sglang", use_offload=True, canary="off", api_key="sk-1", admin_api_key=admin
            )
        if admin == "EMPTY":
            assert the_failure(findings).fix == "GENRM_ADMIN_API_KEY must be SGLang's --admin-api-key"
        else:
            assert said(findings, Level.FAILED) == []


# --- servers that are no mock of ours ---


def _completion(text: str) -> dict[str, Any]:
    message = {"role": "assistant", "content": text}
    return {"choices": [{"index": 0, "message": message, "finish_reason": "stop"}], "usage": {"total_tokens": 1}}


def _models() -> dict[str, Any]:
    return {"object": "list", "data": [{"id": "genrm-demo", "max_model_len": 32768}]}


def _vllm(*, version: str = "0.32.0", chat: str = "\\boxed{True}", config: Any = None) -> Starlette:
    def says(value: Any) -> Callable[[Request], Response]:
        return lambda _request: JSONResponse(value)

    return Starlette(
        routes=[
            Route("/version", says({"version": version})),
            Route("/v1/models", says(_models())),
            Route("/is_sleeping", says({"is_sleeping": False})),
            Route("/server_info", says({"vllm_config": config})),
            Route("/v1/chat/completions", says(_completion(chat)), methods=["POST"]),
        ]
    )


@contextmanager
def _sglang(flags: dict[str, bool], *, api_key: str | None = None, admin_key: str | None = None) -> Iterator[str]:
    """A mock SGLang that was started with these flags; the value is its URL."""
    config: dict[str, Any] = {**flags, "api_key": api_key, "admin_api_key": admin_key, "health_seconds": 0.0}
    with MockServer(profile="sglang-0.5.23", **config) as server:
        yield server.base_url


def _router(worker: str) -> Starlette:
    return Starlette(
        routes=[
            Route("/workers", lambda _request: JSONResponse({"workers": [{"url": worker}]})),
            Route("/v1/models", lambda _request: JSONResponse(_models())),
            Route(
                "/v1/chat/completions", lambda _request: JSONResponse(_completion("\\boxed{True}")), methods=["POST"]
            ),
        ]
    )
