"""`genrm doctor` as a process: what it prints, where to, and its exit codes."""

from __future__ import annotations

import re
import signal
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest

from genrm_command import PATIENCE, run, start
from mock_server.server import MockServer

Servers = Callable[..., MockServer]
OURS = "pkg://genrm.reward_function"


@pytest.fixture
def script(tmp_path: Path) -> Callable[..., Path]:
    """Write a launch script with these words."""

    def write(*words: str) -> Path:
        path = tmp_path / "run.sh"
        lines = ["python3 -m verl.trainer.main_ppo", "trainer.total_epochs=1", *words]
        path.write_text(" \\\n    ".join(lines), encoding="utf-8")
        return path

    return write


def fixes(text: str) -> dict[str, str]:
    """What has failed, and the line after it."""
    lines = text.splitlines()
    return {line[10:]: after[15:] for line, after in pairwise(lines) if line.startswith("failed")}


def test_all_is_well(mock_server: MockServer) -> None:
    result = run("doctor", GENRM_BASE_URL=mock_server.base_url)
    assert (result.returncode, result.stderr) == (0, "")
    lines = result.stdout.splitlines()
    assert lines[:2] == ["settings", f"ok        the judge is genrm-demo at {mock_server.base_url} (vllm)"]
    assert f"server {mock_server.base_url}" in lines
    assert "ok        8 of 8 canaries have the verdict that is known" in lines
    assert lines[-1] == "8 ok"
    assert "\x1b" not in result.stdout
    assert all(line == line.rstrip() for line in lines)


def test_a_dead_server(mock_server_factory: Servers) -> None:
    server = mock_server_factory()
    server.stop()
    result = run("doctor", GENRM_BASE_URL=server.base_url)
    assert result.returncode == 1
    assert list(fixes(result.stdout).values()) == ["start the server, or set GENRM_BASE_URL to where it listens"]


def test_wrong_settings_are_all_named(mock_server: MockServer) -> None:
    result = run(
        "doctor",
        GENRM_BASE_URL=mock_server.base_url,
        GENRM_MAX_RETRIES="many",
        GENRM_VALIDATION="perhaps",
        GENRM_MODLE_NAME="judge",
    )
    assert result.returncode == 1
    assert fixes(result.stdout) == {
        "GENRM_MAX_RETRIES was 'many'": "allowed: a whole number from 1 to 100",
        "GENRM_VALIDATION was 'perhaps'": "allowed: rule or judge",
    }
    assert "warning   GENRM_MODLE_NAME is not a setting of genrm, so it does nothing" in result.stdout
    assert "fix: did you mean GENRM_MODEL_NAME?" in result.stdout
    assert mock_server.requests == []


def test_files_that_settings_name(mock_server: MockServer, tmp_path: Path) -> None:
    result = run(
        "doctor",
        GENRM_BASE_URL=mock_server.base_url,
        GENRM_PROMPT_TEMPLATE="{problem}",
        GENRM_CANARY=tmp_path / "nowhere",
    )
    assert result.returncode == 1
    assert "the field {solution} is missing" in result.stdout
    assert "GENRM_CANARY was" in result.stdout


@pytest.mark.parametrize(
    ("key", "verl", "code", "what"),
    [
        ("reward.custom_reward_function", "0.9.1", 0, f"ok        {OURS}: compute_score is there, and async"),
        ("custom_reward_function", "0.9.1", 1, "failed    custom_reward_function.path is accepted by verl 0.9.1"),
    ],
)
@pytest.mark.parametrize("written", ["{}.path={}", "'{}={{path:{}}}'"])
def test_the_wiring(
    mock_server: MockServer, script: Callable[..., Path], key: str, verl: str, code: int, what: str, written: str
) -> None:
    path = script(written.format(key, OURS))
    result = run("doctor", "--config", path, "--verl", verl, GENRM_BASE_URL=mock_server.base_url)
    assert result.stdout.startswith(f"wiring ({path})\n")
    assert what in result.stdout
    assert result.returncode == code, result.stdout


def test_the_run_has_settings_of_its_own(mock_server: MockServer, script: Callable[..., Path], tmp_path: Path) -> None:
    start = "reward.custom_reward_function"
    path = script(
        f"{start}.path={OURS}",
        f"+{start}.reward_kwargs.BASE_URL={mock_server.base_url}",
        f"+{start}.reward_kwargs.USE_OFFLOAD=True",
        "data.train_batch_size=16 actor_rollout_ref.rollout.n=4",
    )
    path.write_text(f"export GENRM_BATCH_SIZE=64 GENRM_API_KEY=$KEY GENRM_MAX_WROKERS=1\n{path.read_text()}")
    result = run(
        *("doctor", "--config", path, "--verl", "0.9.1"),
        GENRM_BASE_URL="http://127.0.0.1:1",
        GENRM_BATCH_SIZE=7,
        GENRM_OFFLOAD_DIR=tmp_path,
    )
    assert result.returncode == 0, result.stdout
    assert f"the judge is genrm-demo at {mock_server.base_url} (vllm), and sleeps" in result.stdout
    assert "a step has 64 samples" in result.stdout
    assert "knows the canaries' verdicts" in result.stdout
    assert "skipped   GENRM_API_KEY=$KEY: what the shell makes of it is not known here" in result.stdout
    assert "GENRM_MAX_WROKERS is not a setting of genrm" in result.stdout


def test_a_misspelt_reward_kwarg(mock_server: MockServer, script: Callable[..., Path]) -> None:
    start = "reward.custom_reward_function"
    path = script(f"{start}.path={OURS}", f"+{start}.reward_kwargs.MAX_RETRYS=3")
    result = run("doctor", "--config", path, "--verl", "0.9.1", GENRM_BASE_URL=mock_server.base_url)
    assert result.returncode == 1
    assert fixes(result.stdout)["in reward_kwargs, MAX_RETRYS is not a setting of genrm"] == "did you mean MAX_RETRIES?"
    assert "the judge is not looked at while settings are wrong" in result.stdout


def test_what_the_documentation_shows(mock_server_factory: Servers, tmp_path: Path) -> None:
    document = (Path(__file__).parents[3] / "docs" / "doctor.md").read_text(encoding="utf-8")
    script, shown = re.findall(r"^```(?:sh)?\n(.*?)^```$", document, re.MULTILINE | re.DOTALL)[1:3]
    (tmp_path / "train.sh").write_text(script)
    server = mock_server_factory(profile="vllm-0.23.0")
    result = run(
        *("doctor", "--config", tmp_path / "train.sh", "--verl", "0.9.1"),
        GENRM_BASE_URL=server.base_url,
        GENRM_OFFLOAD_DIR=tmp_path,
    )
    assert result.returncode == 1
    printed = result.stdout.replace(server.base_url, "http://localhost:30000").replace(f"{tmp_path}/", "")
    printed = printed.replace("as told by --verl", "none is installed here; another one by --verl")
    assert _comparable(printed) == _comparable(shown)


def _comparable(text: str) -> list[str]:
    """The findings without what depends on the machine: line breaks, seconds, its GPUs and its network."""
    text = re.sub(r"\n {10}(?!fix:)", " ", text)
    lines = re.sub(r"[\d.]+ s\b", "N s", text).splitlines()
    return [line for line in lines if not re.search("memory came back|genrm-harness.gpu|network|skipped$", line)]


class TestWrongUse:
    def test_no_launch(self, tmp_path: Path) -> None:
        result = run("doctor", "--config", tmp_path / "nowhere.sh")
        assert (result.returncode, result.stdout) == (2, "")
        assert "nowhere.sh cannot be read: No such file or directory" in result.stderr

    def test_no_version(self, script: Callable[..., Path]) -> None:
        result = run("doctor", "--config", script(), "--verl", "new")
        assert result.returncode == 2
        assert "'new' is no version of verl" in result.stderr

    def test_no_option(self) -> None:
        assert run("doctor", "--no-such").returncode == 2


def test_the_key_is_never_said(mock_server_factory: Servers) -> None:
    for server_key in ("sk-very-secret", "sk-another"):
        server = mock_server_factory(api_key=server_key)
        result = run("doctor", GENRM_BASE_URL=server.base_url, GENRM_API_KEY="sk-very-secret")
        assert "sk-" not in result.stdout + result.stderr


def test_it_can_be_interrupted(mock_server_factory: Servers) -> None:
    server = mock_server_factory(scenario={"faults": [{"fault": "hang"}]})
    process = start("doctor", GENRM_BASE_URL=server.base_url)
    assert process.stdout is not None
    while not process.stdout.readline().startswith("judge "):
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130
    assert err == "interrupted\n"


def test_the_help_shows_examples_and_exit_codes() -> None:
    text = run("doctor", "--help").stdout
    for word in ("genrm doctor --config train.sh", "1: something has failed", "--round-trip"):
        assert word in text
