"""The canaries: where they come from, and when a judge is held for mad."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from genrm import Settings, SettingsError
from genrm.client import Reply
from genrm.errors import JudgeGarbage, JudgeOverloaded
from genrm.offload.canary import Canaries, Canary, load_canaries
from genrm.verdicts import parse_verdict

ROW = {"problem": "2 + 2?", "solution": "5", "label": False}


def test_the_bundled_ones_are_half_right_and_half_wrong() -> None:
    canaries = load_canaries("on")
    assert [canary.label for canary in canaries].count(True) == len(canaries) / 2 == 4
    assert load_canaries("off") == []


def test_a_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.jsonl"
    path.write_text(json.dumps(ROW) + "\n\n" + json.dumps({**ROW, "label": True, "answer": 5}) + "\n")
    assert load_canaries(str(path)) == [Canary("2 + 2?", "5", False), Canary("2 + 2?", "5", True, "5")]


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        "3",
        json.dumps({"problem": "?"}),
        json.dumps({**ROW, "label": "true"}),
        json.dumps({**ROW, "label": 1}),
    ],
)
def test_a_wrong_file_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "mine.jsonl"
    path.write_text(text)
    with pytest.raises(SettingsError, match=r"GENRM_CANARY was .*mine\.jsonl.*problem, solution and label"):
        load_canaries(str(path))


@pytest.mark.parametrize("name", ["nowhere.jsonl", "."])
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(SettingsError, match="GENRM_CANARY was"):
        load_canaries(str(tmp_path / name))


def test_an_empty_file_is_no_choice(tmp_path: Path) -> None:
    (tmp_path / "none").write_text("\n")
    with pytest.raises(SettingsError, match="holds no canaries"):
        load_canaries(str(tmp_path / "none"))


class Client:
    """Answers one after the other; an exception is raised."""

    def __init__(self, *answers: str | Exception) -> None:
        self.answers = list(answers)

    async def complete(self, _messages: object) -> Reply:
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return Reply(answer, "stop", 1)


async def check(client: Client, count: int = 8) -> None:
    canaries = [Canary("?", "!", True)] * count
    await Canaries("http://judge", canaries, client, lambda canary: [], parse_verdict).check()  # type: ignore[arg-type]


TRUE, FALSE, GARBAGE = "So it is. \\boxed{True}", "So it is. \\boxed{False}", "!!!!!!"
BUSY = JudgeOverloaded("http://judge", "HTTP 503")


@pytest.mark.parametrize("answers", [[TRUE] * 8, [TRUE] * 6 + [FALSE] * 2, [TRUE] * 6 + [GARBAGE, BUSY]])
async def test_a_judge_may_err(answers: list[Any]) -> None:
    await check(Client(*answers))


@pytest.mark.parametrize("answers", [[GARBAGE] * 8, [TRUE] * 5 + [FALSE] * 3, [TRUE] * 4 + [FALSE] * 4])
async def test_a_judge_that_errs_too_often_is_mad(answers: list[Any]) -> None:
    right = answers.count(TRUE)
    with pytest.raises(JudgeGarbage, match=f"{right} of 8 canaries"):
        await check(Client(*answers))


async def test_a_judge_that_does_not_answer_is_not_mad() -> None:
    with pytest.raises(JudgeOverloaded):
        await check(Client(*[TRUE] * 5, *[BUSY] * 3))


async def test_none_are_none() -> None:
    await check(Client(), 0)


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"use_offload": True, "server_backend": "openai"}, r"GENRM_USE_OFFLOAD was True \(an external API has no mem"),
        ({"sleep_level": 2}, r"GENRM_SLEEP_LEVEL was 2 \(.*GENRM_RELOAD_WEIGHTS=1"),
        ({"sleep_level": 3}, r"GENRM_SLEEP_LEVEL was 3; allowed: 1, or 2"),
        ({"batch_size": -1}, "GENRM_BATCH_SIZE was -1"),
        ({"wake_timeout": 0}, "GENRM_WAKE_TIMEOUT was 0"),
        ({"idle_linger": "inf"}, "GENRM_IDLE_LINGER was 'inf'"),
        ({"offload_ledger": "redis"}, "GENRM_OFFLOAD_LEDGER was 'redis'; allowed: auto, file or ray"),
        ({"admin_api_key": "ä"}, r"GENRM_ADMIN_API_KEY was \(hidden\)"),
    ],
)
def test_settings_that_cannot_be(given: dict[str, Any], why: str) -> None:
    with pytest.raises(SettingsError, match=why):
        Settings.load(**given)


def test_level_2_with_reload_can_be() -> None:
    assert Settings.load(sleep_level=2, reload_weights=True, use_offload=True).sleep_level == 2


@pytest.mark.parametrize(("given", "canary"), [(True, "on"), ("0", "off"), ("Off", "off"), ("My.jsonl", "My.jsonl")])
def test_the_words_for_canaries(given: object, canary: str) -> None:
    assert Settings.load(canary=given).canary == canary
