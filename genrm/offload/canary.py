"""Whether a judge that has woken up still knows what it knew: some solutions with a known verdict.

A vLLM that slept at level 2, or an SGLang without a copy of the weights, wakes with whatever the GPU's memory holds,
and answers fluent garbage under HTTP 200. A judge may err on a canary, so a few errors pass; garbage does not: of eight
verdicts drawn at random six or more are right in 14 % of all cases, and garbage mostly gives no verdict at all.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import anyio

from genrm.client import ChatClient
from genrm.errors import JudgeError, JudgeGarbage, SettingsError
from genrm.prompts import Message
from genrm.verdicts import Reader, Verdict

logger = logging.getLogger(__name__)

ENOUGH = 0.75
"""This share of the canaries must come out as known."""
_BUNDLED = Path(__file__).with_name("canaries.jsonl")


@dataclass(frozen=True)
class Canary:
    """A solution whose verdict is known."""

    problem: str
    solution: str
    label: bool
    answer: str = ""


def load_canaries(choice: str) -> list[Canary]:
    """The canaries to ask: of a JSON-lines file, the bundled ones for "on", none for "off".

    Raises:
        SettingsError: the file cannot be read, or a line has no problem, solution and label.
    """
    if choice == "off":
        return []
    path = _BUNDLED if choice == "on" else Path(choice)
    try:
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
        canaries = [
            Canary(str(row["problem"]), str(row["solution"]), _label(row["label"]), str(row.get("answer", "")))
            for row in rows
        ]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise SettingsError(
            f"GENRM_CANARY was {choice!r}; allowed: on, off, or a JSON-lines file whose lines have problem, solution "
            f"and label (true or false) ({type(error).__name__}: {error})"
        ) from None
    if not canaries:
        raise SettingsError(f"GENRM_CANARY was {choice!r}; the file holds no canaries (off asks none)")
    return canaries


def _label(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"label is {value!r}")
    return value


def _agrees(verdict: Verdict, canary: Canary) -> bool:
    """Whether it is the known one, or a number on its side."""
    return verdict.value is not None and (verdict.value > 0.5) is canary.label


class Canaries:
    """Asks one server about the canaries.

    Args:
        url: of the server, for errors.
        canaries: what is asked.
        client: asks that server.
        render: a canary -> the judge's prompt.
        read: a reply -> its verdict.
    """

    def __init__(
        self,
        url: str,
        canaries: Sequence[Canary],
        client: ChatClient,
        render: Callable[[Canary], list[Message]],
        read: Reader,
    ) -> None:
        self._url = url
        self._canaries = canaries
        self._client = client
        self._render = render
        self._read = read

    async def check(self) -> None:
        """Ask about all of them at once.

        Raises:
            JudgeGarbage: too many verdicts are other than known.
            JudgeError: the judge gave no reply.
        """
        outcomes: list[bool | JudgeError] = []

        async def ask(canary: Canary) -> None:
            try:
                reply = await self._client.complete(self._render(canary))
            except JudgeError as error:
                outcomes.append(error)
            else:
                outcomes.append(_agrees(self._read(reply.text, reply.finish_reason), canary))

        async with anyio.create_task_group() as tasks:
            for canary in self._canaries:
                tasks.start_soon(ask, canary)
        right = sum(outcome is True for outcome in outcomes)
        if right >= ENOUGH * len(self._canaries):
            return
        for outcome in outcomes:
            if isinstance(outcome, JudgeError):
                raise outcome
        raise JudgeGarbage(
            f"{self._url}: awake, but gave the known verdict on {right} of {len(self._canaries)} canaries: its "
            "weights may be garbage. vLLM at level 2 needs its weights loaded again (GENRM_RELOAD_WEIGHTS=1), SGLang "
            "needs --enable-weights-cpu-backup. A judge of another domain needs canaries of its own (GENRM_CANARY)"
        )
