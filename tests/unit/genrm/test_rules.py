"""The rule: exact match of answers, verl's where it is installed, and nothing that a solution can break."""

from __future__ import annotations

import importlib
import logging
import sys
import threading
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest

from genrm import Sample, rules


@pytest.fixture(autouse=True)
def _nothing_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a machine with neither verl nor math-verify, whatever this one has."""
    monkeypatch.setattr(rules, "_is_installed", lambda package: False)


@pytest.mark.parametrize(
    ("solution", "truth"),
    [
        (r"so \boxed{18}", "18"),
        (r"\boxed{5} no, \boxed{18}", "18"),
        ("so\n#### 18", "18"),
        ("#### 1,234 \nbye", "1234"),
        (r"\boxed{18.0}", "#### 18"),
        (r"\boxed{\text{18}}", r"it is \boxed{18}"),
        (r"\boxed{\frac{1}{2}}", "0.5"),
        (r"\boxed{\$18.}", "18"),
        (r"\boxed{50\%}", "50%"),
        (r"\boxed{ x^2 }", "x^2"),
        (r"\boxed{+3}", "3"),
    ],
)
def test_equal(solution: str, truth: str) -> None:
    assert rules.answers_match(solution, truth)


@pytest.mark.parametrize(
    ("solution", "truth"),
    [
        ("18", "18"),
        (r"\boxed{18", "18"),
        (r"\boxed{}", ""),
        (r"\boxed{}", "18"),
        (r"\boxed{19}", "18"),
        (r"\boxed{18}", ""),
        (r"\boxed{1/0}", "1"),
        (r"\boxed{1e999999999}", "1"),
        (r"\boxed{9.5/2}", "4.75"),
        ("####", "18"),
    ],
)
def test_not_equal(solution: str, truth: str) -> None:
    assert not rules.answers_match(solution, truth)


@pytest.mark.parametrize(("solution", "score"), [("\\boxed{4}", 1.0), ("\\boxed{four}", 1.0), ("\\boxed{5}", 0.0)])
async def test_each_of_several_answers_is_right(solution: str, score: float) -> None:
    assert await rules.rule_score(Sample(solution, ["4", "four"])) == score


async def test_an_unknown_data_source_is_no_crash() -> None:
    assert await rules.rule_score(Sample(r"\boxed{18}", "18", "never heard of")) == 1.0
    assert await rules.rule_score(Sample("", None, "never heard of")) == 0.0


def _install_verl(monkeypatch: pytest.MonkeyPatch, score: Callable[..., Any]) -> None:
    modules = {name: ModuleType(name) for name in ("verl", "verl.utils", "verl.utils.reward_score")}
    modules["verl.utils.reward_score"].default_compute_score = score  # type: ignore[attr-defined]
    for name, module in modules.items():
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setattr(rules, "_is_installed", lambda package: package == "verl")


@pytest.mark.parametrize(
    ("result", "score"), [(1, 1.0), ({"score": -1.0, "acc": 0}, -1.0), ([0.5, 1], 0.5), (True, 1.0)]
)
async def test_verl_scores_where_it_is_installed(monkeypatch: pytest.MonkeyPatch, result: Any, score: float) -> None:
    calls: list[tuple[Any, ...]] = []

    def default_compute_score(*arguments: Any) -> Any:
        calls.append((*arguments, threading.current_thread() is threading.main_thread()))
        return result

    _install_verl(monkeypatch, default_compute_score)
    assert await rules.rule_score(Sample("s", "7", "gsm8k", {"a": 1})) == score
    assert calls == [("gsm8k", "s", "7", {"a": 1}, False)]


@pytest.mark.parametrize(("error", "logged"), [(NotImplementedError("no rule"), False), (KeyError("x"), True)])
async def test_where_verl_has_no_rule_ours_is_used(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, error: Exception, logged: bool
) -> None:
    def default_compute_score(*arguments: Any) -> Any:
        raise error

    _install_verl(monkeypatch, default_compute_score)
    with caplog.at_level(logging.WARNING):
        assert await rules.rule_score(Sample(r"\boxed{7}", "7", "mine")) == 1.0
    assert bool(caplog.records) is logged


def _install_math_verify(monkeypatch: pytest.MonkeyPatch, verify: Callable[..., bool]) -> list[str]:
    parsed: list[str] = []
    module = ModuleType("math_verify")

    def parse(text: str, parsing_timeout: Any) -> str:
        parsed.append(text)
        return text

    module.parse, module.verify = parse, verify  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "math_verify", module)
    monkeypatch.setattr(rules, "_is_installed", lambda package: package == "math_verify")
    return parsed


def test_math_verify_is_asked_where_it_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    parsed = _install_math_verify(monkeypatch, lambda *arguments, timeout_seconds: True)
    assert rules.answers_match(r"\boxed{\sqrt{4}}", "2")
    assert parsed == ["$2$", r"$\sqrt{4}$"]


ENDLESS = r"9^9^9^9 9**9 9999! 1e9 \binom{99999}{9} \Gamma(99999999999) \gamma(9) gamma(9) 99999999999999999999".split()


@pytest.mark.parametrize("answer", [*ENDLESS, "1+" * 60, r"\{" * 24 + r"1\}" * 24, "(" * 9 + "1" + ")" * 9])
def test_computer_algebra_never_sees_what_might_not_end(monkeypatch: pytest.MonkeyPatch, answer: str) -> None:
    parsed = _install_math_verify(monkeypatch, lambda *arguments, timeout_seconds: True)
    assert not rules.answers_match(rf"\boxed{{{answer}}}", "2")
    assert parsed == []


def test_what_math_verify_raises_is_no_match(monkeypatch: pytest.MonkeyPatch) -> None:
    def verify(*arguments: Any, timeout_seconds: Any) -> bool:
        raise RecursionError

    _install_math_verify(monkeypatch, verify)
    assert not rules.answers_match(r"\boxed{x}", "2")


def test_what_is_installed_is_looked_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    fresh = importlib.reload(rules)
    assert fresh._is_installed("json")
    assert not fresh._is_installed("no_such_package")
