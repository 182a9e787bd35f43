"""Everything that is checked, one session a kind. `nox` runs the default ones, `nox -l` lists them all.

Each session installs what it needs into a virtual environment of its own.
"""

from __future__ import annotations

from pathlib import Path

import nox

PYTHONS = ["3.10", "3.11", "3.12", "3.13"]

nox.needs_version = ">=2024.4.15"
nox.options.sessions = ["lint", "typecheck", "unit", "property", "integration", "coverage"]
nox.options.reuse_existing_virtualenvs = True
# The unit tests run on every Python that is found; nobody must have all four.
nox.options.error_on_missing_interpreters = False


def install(session: nox.Session, group: str, *more: str) -> None:
    """Install the project and one of its dependency groups."""
    pyproject = nox.project.load_toml("pyproject.toml")
    session.install(*nox.project.dependency_groups(pyproject, group), *more)


def pytest(session: nox.Session, folder: str) -> None:
    """Run a folder's tests in parallel and in random order, under coverage."""
    install(session, "test", ".")
    for old in Path().glob(f".coverage.{session.name}*"):
        old.unlink()  # of another version of the code
    arguments = session.posargs or ["-n", "auto"]
    data_file = {"COVERAGE_FILE": f".coverage.{session.name}"}
    session.run("coverage", "run", "-m", "pytest", folder, *arguments, env=data_file)


@nox.session
def lint(session: nox.Session) -> None:
    """Style and suspicious code, by ruff."""
    install(session, "lint")
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
    """The whole over real sockets and in real processes, on loopback."""
    pytest(session, "tests/integration")


@nox.session
def coverage(session: nox.Session) -> None:
    """Lines and branches that the sessions above ran, together; fails under 95 %."""
    session.install("coverage[toml]>=7.10")
    session.run("coverage", "combine", "--keep", "--data-file=.coverage")
    session.run("coverage", "report", "--data-file=.coverage")


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
