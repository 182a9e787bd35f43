"""Does the judge judge: canaries with known verdicts, how long they take, and structured outputs."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median

import anyio
import httpx
from packaging.version import Version

from genrm.client import ChatClient
from genrm.endpoints import Endpoints
from genrm.errors import JudgeError, JudgeRefused, JudgeTimeout, JudgeUnreachable
from genrm.offload.canary import ENOUGH, Canary, load_canaries
from genrm.prompts import Message
from genrm.settings import Settings
from genrm.verdicts import Reason, Verdict, parse_verdict
from genrm.workbench.doctor.findings import Finding, failed, ok, skipped, warning
from genrm.workbench.doctor.servers import Kind, Served

Render = Callable[[Canary], list[Message]]

SLOW_SHARE = 0.5
"""A median beyond this share of GENRM_REQUEST_TIMEOUT leaves longer solutions too little time."""
_STRUCTURED_SINCE = Version("0.11.0")
_GUIDED_UNTIL = Version("0.12.0")
_BINDING = frozenset({"structured_outputs", "regex", "ebnf", "json_schema", "response_format"})
_CHOICES = ("sun", "moon")
_OFF_TOPIC: list[Message] = [{"role": "user", "content": "Which is your favourite dish?"}]
_FIXES = {
    400: "see what it says: is it GENRM_EXTRA_BODY, or GENRM_MAX_TOKENS?",
    401: "GENRM_API_KEY=the key that the server was started with",
    403: "GENRM_API_KEY=the key that the server was started with",
    404: "GENRM_BASE_URL and GENRM_MODEL_NAME must be the server's",
}


@dataclass(frozen=True)
class _Asked:
    """What came of one canary. `verdict` is None where there was no reply, and `error` where there was one."""

    canary: Canary
    seconds: float
    verdict: Verdict | None = None
    error: JudgeError | None = None

    @property
    def is_right(self) -> bool:
        return self.verdict is not None and self.verdict.value is self.canary.label


async def check_canaries(settings: Settings, http: httpx.AsyncClient, url: str, render: Render) -> list[Finding]:
    """Ask about each canary by the prompt of the settings; the first one alone, as it may warm the server up."""
    client = ChatClient(settings, http, Endpoints([url]))
    first, *others = load_canaries(settings.canary) or load_canaries("on")
    asked = [await _ask(client, first, render)]

    async def ask(canary: Canary) -> None:
        asked.append(await _ask(client, canary, render))

    if asked[0].error is None:
        async with anyio.create_task_group() as tasks:
            for canary in others:
                tasks.start_soon(ask, canary)
    error = next((each.error for each in asked if each.error), None)
    if error is not None:
        return [_no_reply(error)]
    verdicts = _verdicts(asked, settings)
    return [verdicts, _latency([each.seconds for each in asked], settings)]


async def _ask(client: ChatClient, canary: Canary, render: Render) -> _Asked:
    began = time.monotonic()
    try:
        reply = await client.complete(render(canary))
    except JudgeError as error:
        return _Asked(canary, time.monotonic() - began, error=error)
    return _Asked(canary, time.monotonic() - began, parse_verdict(reply.text, reply.finish_reason))


def _no_reply(error: JudgeError) -> Finding:
    if isinstance(error, JudgeTimeout):
        fix = "is it asleep, or overloaded? See `genrm offload status`; --timeout and GENRM_REQUEST_TIMEOUT wait longer"
    elif isinstance(error, JudgeUnreachable):
        fix = "the server's log says why"
    else:
        fix = _FIXES.get(error.status or 0, "the server's log says why")
    what = "the judge refuses to be asked" if isinstance(error, JudgeRefused) else "the judge did not reply"
    return failed(f"{what}: {error}", fix)


def _verdicts(asked: Sequence[_Asked], settings: Settings) -> Finding:
    none = Counter(each.verdict.reason for each in asked if each.verdict and each.verdict.value is None)
    right, total = sum(each.is_right for each in asked), len(asked)
    without = ", ".join(f"{reason} {count}" for reason, count in none.most_common())
    if settings.canary == "off":  # whose verdicts are known of another judge's domain
        what = f"{total - none.total()} of {total} replies hold a verdict" + (f" ({without})" if none else "")
        return ok(what) if not none else failed(what, _fix_of(none, settings))
    what = f"{right} of {total} canaries have the verdict that is known" + (f"; no verdict: {without}" if none else "")
    if right >= ENOUGH * total:
        return ok(what)
    return failed(what, _fix_of(none, settings))


def _fix_of(none: Counter[Reason], settings: Settings) -> str:
    if not none:
        return (
            f"is {settings.model_name} a judge, and are its weights sound? A judge of another domain needs canaries of "
            "its own (GENRM_CANARY)"
        )
    reason = none.most_common(1)[0][0]
    if reason is Reason.TRUNCATED:
        return f"GENRM_MAX_TOKENS is {settings.max_tokens}: more, or a judge that thinks less"
    if reason in (Reason.ABORTED, Reason.UNFINISHED):
        return "the server cuts its replies short: does somebody put it to sleep? `genrm offload status` looks"
    return (
        f"is {settings.model_name} a generative judge? It must end its reply with \\boxed{{True}} or \\boxed{{False}}; "
        "another prompt may help (GENRM_PROMPT_TEMPLATE)"
    )


def _latency(seconds: Sequence[float], settings: Settings) -> Finding:
    typical = median(seconds[1:] or seconds)
    what = f"a reply takes {typical:.2f} s (median of {len(seconds) - 1} at once), the first took {seconds[0]:.2f} s"
    if typical > SLOW_SHARE * settings.request_timeout:
        fix = f"GENRM_REQUEST_TIMEOUT is {settings.request_timeout:g} s: more, or a faster judge"
        return warning(f"{what}: longer solutions will be cut off", fix)
    return ok(what)


async def check_structured(settings: Settings, http: httpx.AsyncClient, served: Served) -> list[Finding]:
    """Whether the server binds replies to a grammar; settings that ask for that in a way it ignores."""
    given = json.loads(settings.extra_body)
    field, body = _structured_field(served)
    ignored = sorted(name for name in given if _is_ignored(name, served))
    if ignored:
        fix = 'in GENRM_EXTRA_BODY: "structured_outputs": {...}' if field == "structured_outputs" else f"use {field}"
        return [failed(f"{served} ignores {', '.join(ignored)} of GENRM_EXTRA_BODY in silence", fix)]
    if not field:
        return [skipped("structured outputs: asked of vLLM and SGLang only")]
    others = {name: value for name, value in given.items() if name not in _BINDING and not name.startswith("guided_")}
    bound = settings.model_copy(update={"extra_body": json.dumps({**others, **body}), "max_tokens": 32})
    try:
        reply = await ChatClient(bound, http, Endpoints([served.url])).complete(_OFF_TOPIC)
    except JudgeRefused as error:
        return [warning(f"structured outputs are refused: {error}", "leave them out of GENRM_EXTRA_BODY")]
    if reply.text.strip() in _CHOICES:
        return [ok(f"structured outputs are kept to ({field})")]
    return [warning(f"structured outputs ({field}) are ignored in silence", "leave them out of GENRM_EXTRA_BODY")]


def _structured_field(served: Served) -> tuple[str, dict[str, object]]:
    if served.kind is Kind.SGLANG:
        return "regex", {"regex": "|".join(_CHOICES)}
    if served.kind is not Kind.VLLM:
        return "", {}
    if served.version is None or served.version >= _STRUCTURED_SINCE:
        return "structured_outputs", {"structured_outputs": {"choice": list(_CHOICES)}}
    return "guided_choice", {"guided_choice": list(_CHOICES)}


def _is_ignored(name: str, served: Served) -> bool:
    if name.startswith("guided_"):
        new_vllm = served.kind is Kind.VLLM and (served.version is None or served.version >= _GUIDED_UNTIL)
        return new_vllm or served.kind in (Kind.SGLANG, Kind.ROUTER)
    if name == "structured_outputs":
        old_vllm = served.kind is Kind.VLLM and served.version is not None and served.version < _STRUCTURED_SINCE
        return old_vllm or served.kind in (Kind.SGLANG, Kind.ROUTER)
    return False
