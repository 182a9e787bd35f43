"""What `genrm-mock validate` finds, with the line."""

from __future__ import annotations

from pathlib import Path

import pytest

from mock_server.lint import findings
from mock_server.scenario.files import DEFAULT_SCENARIO


def found(tmp_path: Path, text: str) -> list[str]:
    path = tmp_path / "s.yaml"
    path.write_text(text, encoding="utf-8")
    return [line.removeprefix(f"{path}:") for line in findings(path)]


def test_the_bundled_scenario_is_fine() -> None:
    assert findings(DEFAULT_SCENARIO) == []


def test_mistakes_are_findings(tmp_path: Path) -> None:
    assert found(tmp_path, "shapes:\n  no_box: 2\n  truncated: x\n") == [
        "2: shapes.no_box: input should be less than or equal to 1 (it is 2)",
        "3: shapes.truncated: input should be a valid number, unable to parse string as a number (it is 'x')",
    ]


RULES = """oracle:
  - rules:
      - {problem: eggs, verdict: true}
      - {problem: ducks, solution: "4", verdict: true}
      - {problem: "12  eggs", solution: x, verdict: false}
      - {problem: ducks, solution: "5", verdict: true}
      - {problem: {regex: eggs}, verdict: true}
      - {solution: {regex: "4$"}, verdict: true}
  - rules:
      - {solution: {regex: "4$"}, verdict: true}
      - {problem: ducks, solution: "{mark}45", verdict: true}
""".replace("{mark}", "\u00a6")


def test_rules_that_are_shadowed(tmp_path: Path) -> None:
    assert found(tmp_path, RULES) == [
        "5: oracle.0.rules.2: can never match: oracle.0.rules.0 (line 3) matches all of it first, which says True",
        "10: oracle.1.rules.0: can never match: oracle.0.rules.5 (line 8) matches all of it first",
        "11: oracle.1.rules.1: can never match: oracle.0.rules.1 (line 4) matches all of it first",
    ]


def test_oracles_after_the_last_word(tmp_path: Path) -> None:
    text = "oracle:\n  - default: none\n  - default: true\n  - arithmetic: true\n  - rules: []\n"
    decided = "is never asked: oracle.1.default (line 3) has decided everything"
    assert found(tmp_path, text) == [f"4: oracle.2.arithmetic: {decided}", f"5: oracle.3.rules: {decided}"]


def test_pairs_that_contradict(tmp_path: Path) -> None:
    (tmp_path / "p.jsonl").write_text('{"problem": "p", "solution": " s", "label": 0}\n')
    text = """oracle:
  - pairs:
      - {problem: p, solution: s, verdict: true}
      - {problem: p, solution: t, verdict: true}
      - {problem: p, solution: t, verdict: true}
      - {problem: " p", solution: t, verdict: false}
  - pairs_file: p.jsonl
"""
    of = "of the same problem and solution"
    assert found(tmp_path, text) == [
        f"6: oracle.0.pairs.3: says False, but oracle.0.pairs.1 (line 4) says True {of}",
        f"7: oracle.1.pairs_file: p.jsonl, pair 1: says False, but oracle.0.pairs.0 (line 3) says True {of}",
    ]


@pytest.mark.parametrize(
    ("faults", "finding"),
    [
        ("- {fault: hang, when: {share: 0}}", "2: faults.0: can never fire: its share is 0"),
        ("- {fault: hang, when: {nth: []}}", "2: faults.0: can never fire: nth is empty"),
        (
            "- {fault: done_missing, match: {stream: false}}",
            "2: faults.0: can never fire: done_missing exists for streams only, and it matches none",
        ),
        (
            "- {fault: hang, match: {path: /sleep, problem: x}}",
            "2: faults.0: can never fire: no judge's prompt goes to /sleep",
        ),
        (
            "- {fault: hang, match: {path: /_mock/state}}",
            "2: faults.0: can never fire: no fault befalls the control API",
        ),
        (
            "- {fault: hang}\n- {fault: close, match: {problem: x, scope: s}}",
            "3: faults.1: can never fire: faults.0 takes every such call first",
        ),
        (
            "- {fault: hang, match: {content: x}, when: every}\n- {fault: close, match: {content: axe}}",
            "3: faults.1: can never fire: faults.0 takes every such call first",
        ),
        (
            "- {fault: hang, times: 2, when: {nth: [7, 1, 9]}}",
            "2: faults.0.times: calls 9 of nth are beyond times",
        ),
    ],
)
def test_faults_that_never_fire(tmp_path: Path, faults: str, finding: str) -> None:
    assert found(tmp_path, f"faults:\n{faults}\n") == [finding]


@pytest.mark.parametrize(
    "faults",
    [
        "- {fault: hang, times: 1}\n- {fault: close}",
        "- {fault: hang, when: {nth: 1}}\n- {fault: close}",
        "- {fault: hang, when: {share: 0.5}}\n- {fault: close}",
        "- {fault: hang, when: {every: 2}}\n- {fault: close}",
        "- {fault: {latency: 1}}\n- {fault: close}",
        "- {fault: done_missing}\n- {fault: close}",
        "- {fault: hang}\n- {fault: close, match: {path: /sleep}}",
        "- {fault: hang, match: {scope: s}}\n- {fault: close}",
        "- {fault: hang, match: {content: {regex: x}}}\n- {fault: close, match: {content: x}}",
        "- {fault: hang, times: 2, when: {nth: [1, 2]}}",
    ],
)
def test_faults_that_may_fire(tmp_path: Path, faults: str) -> None:
    assert found(tmp_path, f"faults:\n{faults}\n") == []
