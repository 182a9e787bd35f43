"""`genrm demo` as a process: everything on this machine, and the same each time."""

from __future__ import annotations

import re
import signal

from genrm_command import PATIENCE, run, start


def counts(text: str) -> dict[str, list[int]]:
    """The table's rows: judged True, judged False, no verdict, all."""
    rows = re.findall(r"│ (right|wrong) +│ +(\d+) │ +(\d+) │ +(\d+) │ +(\d+) │", text)
    return {name: [int(number) for number in numbers] for name, *numbers in rows}


def test_it_shows_that_the_verdicts_are_mostly_right() -> None:
    result = run("demo")
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    table = counts(result.stdout)
    assert table.keys() == {"right", "wrong"}
    for judged_true, judged_false, none, total in table.values():
        assert judged_true + judged_false + none == total
        assert total >= 100
    agreement = re.search(r"agreement with the truth +(\d+\.\d)% of the verdicts", result.stdout)
    assert agreement is not None
    assert 85 < float(agreement[1]) < 100
    samples = sum(row[-1] for row in table.values())
    assert f"{samples}/{samples}" in result.stdout
    assert "genrm score --help" in result.stdout


def test_the_seed_decides() -> None:
    first, again, other = (run("demo", "--seed", seed, "--workers", 64) for seed in (1, 1, 2))
    assert counts(first.stdout) == counts(again.stdout) != counts(other.stdout)


def test_variables_that_are_meant_for_a_real_judge_change_nothing() -> None:
    environment = {
        "GENRM_BASE_URL": "http://127.0.0.1:1",
        "GENRM_API_KEY": "sk-secret",
        "GENRM_MODEL_NAME": "other",
        "GENRM_MAX_RETRIES": "many",
        "GENRM_MAX_WORKERS": "0",
        "GENRM_PROMPT_TEMPLATE": "/nowhere",
        "GENRM_EXTRA_BODY": "{",
        "GENRM_ON_NO_VERDICT": "raise",
        "GENRM_USE_OFFLOAD": "yes",
        "GENRM_SERVER_BACKEND": "openai",
    }
    result = run("demo", **environment)
    assert result.returncode == 0, result.stderr
    assert counts(result.stdout) == counts(run("demo").stdout)


def test_wrong_use() -> None:
    result = run("demo", "--workers", 0)
    assert result.returncode == 2
    assert "--workers" in result.stderr


def test_it_can_be_interrupted() -> None:
    process = start("demo", "--workers", 1)
    assert process.stdout is not None
    assert "listens at http://127.0.0.1:" in process.stdout.readline()
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130
    assert "Traceback" not in out + err


def test_the_help_shows_an_example() -> None:
    result = run("demo", "--help")
    assert result.returncode == 0
    assert "Example: genrm demo" in result.stdout
