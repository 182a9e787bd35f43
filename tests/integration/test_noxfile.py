"""What the sessions of noxfile.py install and run, with nothing installed."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("nox", reason="nox is not installed (pip install nox)")

ROOT = Path(__file__).resolve().parents[2]


class _Ended(Exception):
    """A session has given up, with a reason."""


class _Skipped(_Ended):
    """Without anybody minding."""


class FakeSession:
    """A session whose commands only are written down, but for the making of environments: their Python is a script."""

    def __init__(self, folder: Path, *posargs: str, python: str = "true") -> None:
        self.posargs = list(posargs)
        self.bin = str(folder)
        self.name = "session"
        self.virtualenv = SimpleNamespace(location=str(folder / "session"))
        self.ran: list[tuple[str, ...]] = []
        self._python = python

    def run(self, *command: str, **_: Any) -> bool:
        """Note it."""
        self.ran.append(command)
        if command[1:3] == ("-m", "venv"):
            write_script(Path(command[-1]) / "bin" / "python", self._python)
        return True

    def install(self, *wanted: str) -> None:
        """Note it."""
        self.ran.append(("install", *wanted))

    def error(self, reason: str) -> None:
        """As nox's."""
        raise _Ended(reason)

    def skip(self, reason: str) -> None:
        """As nox's."""
        raise _Skipped(reason)


def write_script(path: Path, code: str) -> None:
    """A program of the shell."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{code}\n")
    path.chmod(0o755)


@pytest.fixture(scope="session")
def loaded() -> ModuleType:
    """noxfile.py. nox minds if it is loaded twice."""
    spec = importlib.util.spec_from_file_location("noxfile", ROOT / "noxfile.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def noxfile(loaded: ModuleType, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """noxfile.py, where every wheel would fit, and nothing is set."""
    monkeypatch.chdir(ROOT)
    for variable in ("JUDGE_PYTHON", "TRAINER_PYTHON", "MUST_RUN"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(loaded, "unless_linux_on_x86", lambda _give_up: None)
    return loaded


# --- environments ---

STEPS = [["install", "a==1"], ["check"], ["uninstall", "b"]]


def test_an_environment_is_made_once(noxfile: ModuleType, tmp_path: Path) -> None:
    session, python = FakeSession(tmp_path), str(tmp_path / "venv" / "bin" / "python")
    made = [noxfile.environment(session, tmp_path, steps, session.error) for steps in (STEPS, STEPS)]
    assert made == [python, python]
    pip = (python, "-m", "pip", "--quiet")
    assert session.ran[1:] == [(*pip, "install", "a==1"), (*pip, "uninstall", "b")]
    noxfile.environment(session, tmp_path, [*STEPS, ["install", "c"]], session.error)
    assert session.ran[-1] == (*pip, "install", "c")


def test_what_does_not_go_together_is_said_in_pips_words(noxfile: ModuleType, tmp_path: Path) -> None:
    says = "verl 0.9.1 has requirement transformers<5.11, but you have transformers 5.19.0."
    session = FakeSession(tmp_path, python=f"echo noise >&2; echo '{says}'; exit 1")
    with pytest.raises(_Ended, match=f"does not go together: {says}"):
        noxfile.environment(session, tmp_path, STEPS, session.error)
    assert not (tmp_path / "venv" / "made_of").exists()


@pytest.fixture
def recipes(noxfile: ModuleType, monkeypatch: pytest.MonkeyPatch) -> dict[str, list[list[str]]]:
    """The steps of the environments that are asked for, by their folders."""
    made: dict[str, list[list[str]]] = {}

    def environment(_session: FakeSession, work: Path, steps: list[list[str]], _give_up: Any) -> str:
        made[work.name] = steps
        return f"{work.name}/python"

    monkeypatch.setattr(noxfile, "environment", environment)
    return made


@pytest.mark.parametrize("server", ["vllm", "sglang"])
def test_an_engine_is_alone_in_its_environment(
    noxfile: ModuleType, recipes: dict[str, list[list[str]]], tmp_path: Path, server: str
) -> None:
    session = FakeSession(tmp_path)
    noxfile.engine(session, server, session.error)
    noxfile.trainer(session, session.error)
    first, engine, check = recipes[f"gpu_e2e-{server}"]
    assert (first, check) == (["install", "pip>=25.1"], ["check"])
    assert not [wanted for wanted in engine if wanted.startswith("verl")]
    _, trainer, check = recipes["gpu_e2e-trainer"]
    assert trainer[:2] == ["install", "verl[vllm]==0.9.1"]
    # Whatever the project depends on, and not the project: that would be as old as the environment.
    assert any(wanted.startswith("pydantic-settings>=") for wanted in trainer)
    assert "." not in trainer
    assert check == ["check"]


def test_what_is_known_to_be_missing_on_cpu_is_not_held_against_it(noxfile: ModuleType) -> None:
    steps = noxfile.vllm_by_pip()
    assert steps.index(["check"]) == steps.index(next(step for step in steps if step[0] == "uninstall")) - 1


# --- gpu_e2e ---


@pytest.mark.parametrize(
    ("arguments", "made", "told"),
    [
        ([], ["gpu_e2e-vllm", "gpu_e2e-trainer"], ["--python", "gpu_e2e-vllm/python"]),
        (["--server", "sglang"], ["gpu_e2e-sglang", "gpu_e2e-trainer"], ["--trainer-python", "gpu_e2e-trainer/python"]),
        (["--docker", "--tag", "v1"], ["gpu_e2e-trainer"], ["--docker", "--tag", "v1", "--trainer-python"]),
        (["--no-grpo"], ["gpu_e2e-vllm"], ["--no-grpo"]),
        (["--python", "mine"], ["gpu_e2e-trainer"], ["--python", "mine"]),
        (["--trainer-python", "mine"], ["gpu_e2e-vllm"], ["--trainer-python", "mine"]),
        (["--server", "vllm-cpu"], ["parity-work", "verl"], ["--python", "parity-work/python"]),
        (["--server", "vllm-cpu", "--no-grpo"], ["parity-work", "tiny"], ["--no-grpo"]),
        (["--server", "hf"], ["tiny"], ["--server", "hf"]),
        (["--server", "mock", "-k", "sleep"], [], ["--server", "mock", "-k", "sleep"]),
        (["--server", "mock", "--grpo"], ["verl"], ["--server", "mock"]),
    ],
)
def test_what_a_server_needs_is_made(
    noxfile: ModuleType,
    recipes: dict[str, list[list[str]]],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    arguments: list[str],
    made: list[str],
    told: list[str],
) -> None:
    checked = []
    monkeypatch.setattr(noxfile, "check", lambda _session, _give_up, what, *_: checked.append((what, [*recipes])))
    monkeypatch.setattr(noxfile, "install_verl", lambda *_: recipes.update(verl=[]))
    monkeypatch.setattr(noxfile, "install_torch", lambda *_: recipes.update(tiny=[]))
    session = FakeSession(tmp_path, *arguments)
    noxfile.gpu_e2e(session)
    assert sorted(recipes) == sorted(made)
    assert checked[0] == ("gpu", [])  # before anything is installed
    assert "gpu_e2e-trainer" not in checked[1][1]  # it is the largest
    assert session.ran[-1][:4] == ("python", "-m", "pytest", "tests/gpu")
    assert f" {' '.join(told)} " in f"{' '.join(session.ran[-1])} "
    assert "--grpo" not in session.ran[-1]


# --- what cannot be had ---

Check = Callable[[str], None]


@pytest.fixture
def check(noxfile: ModuleType, tmp_path: Path) -> Check:
    """Let `python -m judges --check` be that script."""

    def check(code: str) -> None:
        write_script(tmp_path / "python", code)
        session = FakeSession(tmp_path)
        noxfile.check(session, session.skip, "all", "--server", "vllm")

    return check


def test_what_a_python_says_besides_is_no_reason(check: Check) -> None:
    check("echo a warning >&2; echo hello; exit 0")


def test_a_reason_is_given_by_the_exit_code(check: Check) -> None:
    with pytest.raises(_Skipped, match=r"^vllm needs a GPU$"):
        check("echo a warning >&2; echo hello; echo vllm needs a GPU; exit 3")


def test_a_check_that_fails_is_no_reason_to_skip(check: Check) -> None:
    with pytest.raises(_Ended, match="ended with 1; why is said above") as ended:
        check("exit 1")
    assert not isinstance(ended.value, _Skipped)


def test_where_it_must_run_it_is_not_skipped(
    noxfile: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = FakeSession(tmp_path)
    assert noxfile.may_skip(session) == session.skip
    monkeypatch.setenv("MUST_RUN", "1")
    assert noxfile.may_skip(session) == session.error


def test_all_sessions_skip_by_it() -> None:
    code = (ROOT / "noxfile.py").read_text()
    assert code.count("session.skip") == 1
