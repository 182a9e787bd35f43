"""The main job on real input: judge GSM8K's example model solutions over HTTP, each exactly once, across a SIGKILL.

    python ci/judge_gsm8k.py example_model_solutions.jsonl

Starts `genrm-mock` with the file's labels as its oracle and known error rates, starts `genrm score`, kills it half way,
runs it again, and checks that the output holds each solution once, that every verdict is the one of a run that nobody
killed, and that the confusion matrix shows the error rates. The file is openai/grade-school-math's (MIT).
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ERROR_RATE = 0.1
# Four standard deviations of the share of errors among 1,500 solutions.
TOLERANCE = 0.03
START_SECONDS = 30


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("solutions", type=Path)
    source = parser.parse_args().solutions
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        count = write_scenario(source, folder)
        with mock(folder / "scenario.yaml") as url:
            whole = score(source, folder / "whole.jsonl", url)
            killed = score(source, folder / "killed.jsonl", url, kill_at=count // 2)
    check_exactly_once(killed, count)
    expect("every verdict is that of the run that nobody killed", verdicts(killed) == verdicts(whole))
    check_confusion(killed)
    print("all of this holds")
    return 0


def write_scenario(source: Path, folder: Path) -> int:
    """A scenario whose oracle knows every solution of the file; returns how many there are."""
    rows = [json.loads(line) for line in source.read_text(encoding="utf-8").splitlines()]
    pairs = [
        {"problem": row["question"], "solution": entry["solution"], "label": entry["is_correct"]}
        for row in rows
        for entry in row.values()
        if isinstance(entry, dict)
    ]
    (folder / "pairs.jsonl").write_text("".join(json.dumps(pair) + "\n" for pair in pairs), encoding="utf-8")
    scenario = {
        "oracle": [{"pairs_file": "pairs.jsonl"}],
        "errors": {"false_true": ERROR_RATE, "false_false": ERROR_RATE},
    }
    (folder / "scenario.yaml").write_text(json.dumps(scenario), encoding="utf-8")  # JSON is YAML
    return len(pairs)


@contextmanager
def mock(scenario: Path) -> Iterator[str]:
    """A mock server in a process of its own; its URL."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "mock_server", "--port", str(port), "--scenario", str(scenario)]
    process = subprocess.Popen([*command, "--tokens-per-second", "2000"])
    try:
        wait_for_health(url, process)
        yield url
    finally:
        process.terminate()
        process.wait()


def wait_for_health(url: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            sys.exit(f"genrm-mock ended with {process.returncode}")
        try:
            with urllib.request.urlopen(f"{url}/health", timeout=5):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.05)
    sys.exit(f"genrm-mock was not up within {START_SECONDS} s")


def score(source: Path, out: Path, url: str, kill_at: int | None = None) -> list[dict[str, Any]]:
    """Run `genrm score` to the end, after killing a first run once it has written `kill_at` lines."""
    command = [sys.executable, "-m", "genrm.cli", "score", str(source), "--format", "gsm8k-solutions"]
    command += ["--out", str(out), "--base-url", url, "--max-workers", "256"]
    if kill_at is not None:
        process = subprocess.Popen(command)
        while lines_in(out) < kill_at:
            if process.poll() is not None:
                sys.exit(f"genrm score ended with {process.returncode} before it could be killed")
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.wait()
        print(f"killed it with {lines_in(out)} lines written; again:", flush=True)
    subprocess.run(command, check=True)
    return [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]


def lines_in(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.exists() else 0


def check_exactly_once(lines: list[dict[str, Any]], count: int) -> None:
    times = Counter(line["id"] for line in lines)
    expect(f"each of {count} solutions is there once", len(times) == count and set(times.values()) == {1})


def check_confusion(lines: list[dict[str, Any]]) -> None:
    matrix = Counter((line["label"], line["verdict"]) for line in lines)
    print({f"label {label}, verdict {verdict}": count for (label, verdict), count in sorted(matrix.items())})
    for label in (True, False):
        share = matrix[label, not label] / (matrix[label, True] + matrix[label, False])
        expect(f"{share:.1%} of the solutions labelled {label} are misjudged", abs(share - ERROR_RATE) < TOLERANCE)
    expect("every solution has a verdict", matrix[True, None] + matrix[False, None] == 0)


def verdicts(lines: list[dict[str, Any]]) -> dict[str, Any]:
    return {line["id"]: line["verdict"] for line in lines}


def expect(what: str, holds: bool) -> None:
    print(f"{'ok' if holds else 'FAILED'}: {what}", flush=True)
    if not holds:
        sys.exit(1)


if __name__ == "__main__":
    os.environ.setdefault("PYTHONUNBUFFERED", "1")
    sys.exit(main())
