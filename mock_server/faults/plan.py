"""Which fault befalls a call: a pure function of (plan, seed, scope, content, number of the call, engine busy or not).

"Content" is the canonical JSON of the body with its path: two calls are of the same content when a client repeats
itself. Calls of the same content are numbered from 1 as they arrive, in each scope by itself, so what one content meets
does not depend on what else is asked, when, or in which order. Shares are drawn from the seed, the content, the place
of the fault in the plan and the number of the call (judge/draws.py).
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from statistics import NormalDist
from typing import Any

import orjson

from mock_server.faults.schema import Fault, FaultKind, Latency
from mock_server.judge.draws import Draws
from mock_server.judge.matching import MatchIndex, matcher
from mock_server.prompts import PromptFormat, canonical, recognise

COMPLETIONS = frozenset({"/v1/chat/completions", "/v1/completions", "/invocations", "/generate"})
"""The endpoints of all kinds of server that say something by the script."""


@dataclass(frozen=True, slots=True)
class Call:
    """What a plan looks at: where a request goes, what it holds (canonical texts), and a hash of all that."""

    path: str
    scope: str
    stream: bool
    texts: tuple[str, str, str]
    """Problem, solution (empty when it is no judge's prompt), and all messages together."""
    key: str
    running: bool = False
    """Whether the engine is answering requests as it arrives."""

    @classmethod
    def read(
        cls, path: str, scope: str, body: bytes, form: PromptFormat, query: bytes = b"", running: bool = False
    ) -> Call:
        """A call by its request. Total: whatever the body is, there is a call."""
        data = _object_in(body)
        said = _texts_in(data)
        prompt = recognise(said[-1], form) if said else None
        asked = (canonical(prompt.problem, form.mark), canonical(prompt.solution, form.mark)) if prompt else ("", "")
        content = canonical("\n".join(said), form.mark)
        key = _key(path, query, data, body)
        return cls(path, scope, bool(data.get("stream")), (*asked, content), key, running)


@dataclass(frozen=True, slots=True)
class Chosen:
    """What happens to a call: a pause, then perhaps a fault; and for the journal, which entries fired and why."""

    delay: float = 0.0
    """Seconds."""
    fault: FaultKind | None = None
    notes: tuple[dict[str, Any], ...] = ()


NOTHING = Chosen()


class FaultPlan:
    """The faults of one scenario, ready to be asked. Holds no counts: see `CallCounts`."""

    def __init__(self, faults: Sequence[Fault], seed: int = 0, form: PromptFormat | None = None) -> None:
        self.faults = tuple(faults)
        self.seed = seed
        self.form = form or PromptFormat()
        self._everywhere = any(fault.match.path is None for fault in faults)
        self._paths = frozenset(fault.match.path for fault in faults)
        matches = [fault.match for fault in faults]
        mark = self.form.mark
        self._index = MatchIndex(
            [(matcher(m.problem, mark), matcher(m.solution, mark), matcher(m.content, mark)) for m in matches]
        )

    def covers(self, path: str) -> bool:
        """Whether any fault may befall a request to `path`. False costs next to nothing."""
        return path in self._paths or (self._everywhere and path in COMPLETIONS)

    def matching(self, call: Call) -> list[int]:
        """The numbers of the faults that are meant for a call, whether or not they fire, in their order."""
        return [number for number in self._index.matching(call.texts) if self._meant(self.faults[number], call)]

    def chosen(self, call: Call, attempt: int, numbers: Sequence[int] | None = None) -> Chosen:
        """What happens to the `attempt`th call of its content (from 1). `numbers`: what `matching` found, if known."""
        delay, notes = 0.0, []
        for number in self.matching(call) if numbers is None else numbers:
            fault = self.faults[number]
            if not self._fires(number, call, attempt):
                continue
            notes.append(_note(number, fault, attempt))
            latency = fault.fault.latency
            if latency is None:
                return Chosen(delay, fault.fault, tuple(notes))
            delay += _seconds(latency, self._draw(f"latency {number} call {attempt}", call.key))
        return Chosen(delay, None, tuple(notes)) if notes else NOTHING

    def _meant(self, fault: Fault, call: Call) -> bool:
        match = fault.match
        if match.path is None:
            if call.path not in COMPLETIONS:
                return False
        elif match.path != call.path:
            return False
        if match.scope is not None and match.scope != call.scope:
            return False
        if match.running is not None and match.running != call.running:
            return False
        if match.stream is not None and match.stream != call.stream:
            return False
        return call.stream or not fault.streams_only

    def _fires(self, number: int, call: Call, attempt: int) -> bool:
        fault = self.faults[number]
        if not self._holds(number, call.key, attempt):
            return False
        return fault.times is None or not self._used_up(number, call.key, attempt, fault.times)

    def _holds(self, number: int, key: str, attempt: int) -> bool:
        when = self.faults[number].when
        if when.nth is not None:
            return attempt in when.nth
        if when.share is not None:
            return self._draw(f"fault {number} call {attempt}", key) < when.share
        return attempt % (when.every or 1) == 0

    def _used_up(self, number: int, key: str, attempt: int, times: int) -> bool:
        """Whether `when` has already named so many of the earlier calls of the content."""
        when = self.faults[number].when
        if when.nth is not None:
            return sum(nth < attempt for nth in set(when.nth)) >= times
        if when.share is None:
            return (attempt - 1) // (when.every or 1) >= times
        named = (earlier for earlier in range(1, attempt) if self._holds(number, key, earlier))
        return next(islice(named, times - 1, None), None) is not None

    def _draw(self, purpose: str, key: str) -> float:
        return Draws(self.seed, [("fault", key)]).uniform(purpose)


class CallCounts:
    """How many calls of each content there have been. One for each plan in force: a new plan counts from the start."""

    def __init__(self) -> None:
        self._counts: dict[tuple[str, str], int] = {}

    def next(self, call: Call) -> int:
        """The number of this call among those of its content and scope, from 1."""
        count = self._counts.get((call.scope, call.key), 0) + 1
        self._counts[call.scope, call.key] = count
        return count

    def clear(self, scope: str | None = None) -> None:
        """Start anew: in one scope, or in all (None)."""
        self._counts = {} if scope is None else {key: n for key, n in self._counts.items() if key[0] != scope}


def _seconds(latency: Latency, draw: float) -> float:
    if latency.distribution == "exponential":
        return -latency.seconds * math.log(1 - draw)
    if latency.distribution == "normal" and latency.jitter:
        return max(0.0, NormalDist(latency.seconds, latency.jitter).inv_cdf(min(max(draw, 1e-12), 1 - 1e-12)))
    return max(0.0, latency.seconds + latency.jitter * (2 * draw - 1))


def _note(number: int, fault: Fault, attempt: int) -> dict[str, Any]:
    when = fault.when
    given = next((f"{name} {value}" for name, value in when.model_dump(exclude_none=True).items()), "every 1")
    times = "" if fault.times is None else f", times {fault.times}"
    return {"fault": number, "kind": fault.fault.kind, "call": attempt, "why": f"call {attempt}: {given}{times}"}


# --- what a request holds ---


def _object_in(body: bytes) -> dict[str, Any]:
    try:
        data = orjson.loads(body)
    except orjson.JSONDecodeError:
        # NaN and lone surrogates: the server takes them.
        try:
            data = json.loads(body)
        except (ValueError, RecursionError):
            return {}
    return data if isinstance(data, dict) else {}


def _texts_in(data: dict[str, Any]) -> list[str]:
    """All texts of the messages or of the prompt; the last is what a judge would be asked by."""
    messages = data.get("messages")
    if isinstance(messages, list):
        return [_text(message.get("content")) for message in messages if isinstance(message, dict)]
    prompt = data.get("prompt", data.get("text"))
    return [text for text in (prompt if isinstance(prompt, list) else [prompt]) if isinstance(text, str)]


def _text(content: Any) -> str:
    if isinstance(content, list):
        parts = [part.get("text") if isinstance(part, dict) else part for part in content]
        return "\n".join(part for part in parts if isinstance(part, str))
    return content if isinstance(content, str) else ""


def _key(path: str, query: bytes, data: dict[str, Any], body: bytes) -> str:
    """A hash of what is asked. The request's own name is no part of it, nor the order of its keys."""
    asked = {name: value for name, value in data.items() if name not in ("request_id", "rid")}
    try:
        content = orjson.dumps(asked, option=orjson.OPT_SORT_KEYS) if data else body
    except TypeError:  # a lone surrogate, or a number that does not fit 64 bits
        content = json.dumps(asked, sort_keys=True).encode()
    digest = hashlib.blake2b(path.encode(errors="surrogatepass") + b"\0" + query + b"\0" + content, digest_size=16)
    return digest.hexdigest()
