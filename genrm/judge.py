"""One sample -> a judgement: the stations prompt, request, reply, verdict put together."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import anyio
from tenacity import AsyncRetrying, RetryCallState

from genrm.errors import BadReply, JudgeError, JudgeOverloaded, JudgeRefused, JudgeTimeout, OffloadError
from genrm.neutralise import Neutraliser
from genrm.per_loop import PerLoop
from genrm.prompts import Message, Template, load_template
from genrm.retries import CUT_SHORT, retry_without_verdict, stop_after, wait_as_asked
from genrm.samples import Sample
from genrm.settings import Settings
from genrm.single_flight import SingleFlight
from genrm.tally import Tally
from genrm.verdicts import Reader, Reason, Verdict, parse_verdict

if TYPE_CHECKING:
    from genrm.client import ChatClient
    from genrm.offload.canary import Canary
    from genrm.offload.lease import Offload

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Judgement:
    """What the judge said of a sample, and what it took.

    Attributes:
        verdict: True, False, or none and why.
        attempts: how many requests were made; 0 where none was needed.
        latency: seconds from the moment the sample had a worker, pauses between attempts counted in.
        tokens: of all replies, prompts counted in.
        reply: the last reply's text; "" where there was none.
        failure: the last request's failure; None where it got a reply.
    """

    verdict: Verdict
    attempts: int = 0
    latency: float = 0.0
    tokens: int = 0
    reply: str = ""
    failure: JudgeError | None = None


@dataclass
class _Asking:
    """What has happened so far while one sample is asked."""

    attempts: int = 0
    tokens: int = 0
    reply: str = ""
    reason: Reason = Reason.OK
    failure: JudgeError | None = None


@dataclass
class _LoopBound:
    client: ChatClient
    workers: anyio.CapacityLimiter
    offload: Offload | None
    flights: SingleFlight[Judgement] = field(default_factory=SingleFlight)

    def awake(self) -> AbstractAsyncContextManager[None]:
        """In it the judge is awake."""
        return self.offload.awake() if self.offload else nullcontext()

    async def aclose(self) -> None:
        if self.offload:
            await self.offload.aclose()
        await self.client.aclose()


class Judge:
    """Judges samples by the settings. One object serves any number of event loops and tasks.

    Args:
        settings: of this judge.
        special_tokens: the judge's tokenizer's own, where known: they are neutralised in what the policy wrote.
        template: what it is asked; None for that of the settings.
        read: how its replies are read.

    Raises:
        TemplateError: the prompt template cannot serve.
    """

    def __init__(
        self,
        settings: Settings,
        special_tokens: Iterable[str] = (),
        *,
        template: Template | None = None,
        read: Reader = parse_verdict,
    ) -> None:
        self.settings = settings
        self._template = template or load_template(settings.prompt_template, settings.include_reference)
        self._read = read
        self._neutraliser = Neutraliser(special_tokens)
        self._per_loop = PerLoop(self._open)
        self._no_verdicts = Tally()

    async def judge(self, sample: Sample) -> Judgement:
        """Ask for the verdict on one sample; identical samples in flight are asked once.

        A judge that cannot be reached gives a judgement without verdict, not an exception.

        Raises:
            SampleError: the sample holds no problem.
        """
        problem = sample.problem
        if sample.is_empty:
            return Judgement(Verdict(False, Reason.EMPTY_SOLUTION))
        reference = sample.reference if self._template.shows_reference else ""
        bound = await self._per_loop.get()

        def messages(reminder: str) -> list[Message]:
            return self._template.messages(self._neutraliser, problem, sample.solution, reference, reminder)

        key = (problem, sample.solution, reference)
        return await bound.flights.run(key, lambda: self._ask_as_worker(bound, messages))

    async def scored(self) -> None:
        """Tell that one sample of the training batch has its reward. With the last one the judge sleeps, if it may."""
        if self.settings.use_offload and self.settings.batch_size:
            bound = await self._per_loop.get()
            assert bound.offload is not None
            try:
                await bound.offload.scored()
            except OffloadError as error:  # the reward is there, and is not lost for this
                logger.error("a sample was scored and not counted: %s", error)

    async def batch_over(self) -> None:
        """Tell that a batch is over whose end its caller knows. The judge sleeps, unless somebody else asks it.

        With BATCH_SIZE the samples are counted instead (`scored`): then the batch is that of several processes.
        """
        if self.settings.use_offload and not self.settings.batch_size:
            bound = await self._per_loop.get()
            assert bound.offload is not None
            with anyio.move_on_after(self.settings.sleep_timeout) as waiting:
                try:
                    await bound.offload.dismiss()
                except (OffloadError, JudgeError) as error:
                    logger.error("a batch is over and the judge could not be put to sleep: %s", error)
            if waiting.cancelled_caught:
                logger.error("a batch is over and the judge does not sleep: training may lack its memory")

    def render_canary(self, canary: Canary) -> list[Message]:
        """The prompt that asks about a canary."""
        reference = canary.answer if self._template.shows_reference else ""
        return self._template.messages(self._neutraliser, canary.problem, canary.solution, reference, "")

    async def aclose(self) -> None:
        """Close this event loop's connections now rather than when the loop ends."""
        await self._per_loop.aclose()

    def _open(self) -> _LoopBound:
        from genrm.client import open_client  # httpx and aiohttp: 0.3 s that a mere import of genrm need not pay

        workers = anyio.CapacityLimiter(self.settings.max_workers)
        return _LoopBound(open_client(self.settings), workers, self._open_offload())

    def _open_offload(self) -> Offload | None:
        if not self.settings.use_offload:
            return None
        from genrm.offload.gateway import open_offload

        return open_offload(self.settings, self.render_canary, self._read)

    async def _ask_as_worker(self, bound: _LoopBound, messages: Callable[[str], list[Message]]) -> Judgement:
        # The worker is kept for the pauses, too: a server in trouble is not also given the samples that wait.
        async with bound.workers:
            start = time.monotonic()
            asking = _Asking()
            try:
                async with bound.awake():
                    with anyio.fail_after(self.settings.sample_timeout):
                        verdict = await self._ask_until_verdict(bound, messages, asking)
            except TimeoutError:
                verdict = Verdict(None, Reason.TIMEOUT)
                asking.failure = self._overtime(asking)
            except JudgeError as error:
                asking.failure = error  # it may not have come to a request: the judge did not wake
                verdict = Verdict(None, _reason_of(error))
            if verdict.value is None:
                self._log_no_verdict(verdict.reason, asking)
            return Judgement(
                verdict=verdict,
                attempts=asking.attempts,
                latency=time.monotonic() - start,
                tokens=asking.tokens,
                reply=asking.reply,
                failure=asking.failure,
            )

    async def _ask_until_verdict(
        self, bound: _LoopBound, messages: Callable[[str], list[Message]], asking: _Asking
    ) -> Verdict:
        retrying = AsyncRetrying(
            stop=stop_after(self.settings.max_retries),
            wait=wait_as_asked(self.settings.base_delay),
            retry=retry_without_verdict(),
            retry_error_callback=_last_outcome,
            sleep=anyio.sleep,
        )
        return await retrying(self._ask_awake, bound, messages, asking)

    async def _ask_awake(self, bound: _LoopBound, messages: Callable[[str], list[Message]], asking: _Asking) -> Verdict:
        """Ask once; again, as the same attempt, where the judge was asleep or gone meanwhile and is back."""
        if bound.offload is None:
            return await self._ask_once(bound.client, messages, asking)
        while True:
            wakes = bound.offload.wakes
            try:
                verdict = await self._ask_once(bound.client, messages, asking)
            except JudgeError as error:
                if not error.retryable or not await bound.offload.restored(wakes):
                    raise
            else:
                if verdict.reason not in CUT_SHORT or not await bound.offload.restored(wakes):
                    return verdict
            asking.attempts -= 1

    async def _ask_once(self, client: ChatClient, messages: Callable[[str], list[Message]], asking: _Asking) -> Verdict:
        asking.attempts += 1
        try:
            reply = await client.complete(messages(self._template.reminder_after(asking.reason, asking.attempts)))
        except JudgeError as error:
            error.attempt = asking.attempts
            asking.failure = error
            raise
        asking.failure = None
        asking.tokens += reply.tokens
        asking.reply = reply.text
        verdict = self._read(reply.text, reply.finish_reason)
        asking.reason = verdict.reason
        return verdict

    def _overtime(self, asking: _Asking) -> JudgeTimeout:
        """The failure of a sample whose deadline passed; it keeps what had failed before."""
        before = asking.failure
        url = before.url if before else ", ".join(self.settings.base_url)
        cause = f"the sample's {self.settings.sample_timeout:g} s are over"
        return JudgeTimeout(url, f"{cause}; before that: {before.cause}" if before else cause, attempt=asking.attempts)

    def _log_no_verdict(self, reason: Reason, asking: _Asking) -> None:
        if count := self._no_verdicts.add(reason):
            failure = f"; {asking.failure}" if asking.failure else ""
            logger.warning("no verdict (%s), %d so far, after %d attempt(s)%s", reason, count, asking.attempts, failure)


def _last_outcome(state: RetryCallState) -> Verdict:
    """What is left when all attempts are used: the last verdict, or the last failure raised."""
    assert state.outcome is not None
    verdict = state.outcome.result()
    assert isinstance(verdict, Verdict)
    return verdict


def _reason_of(error: JudgeError) -> Reason:
    for kind, reason in (
        (JudgeTimeout, Reason.TIMEOUT),
        (JudgeOverloaded, Reason.OVERLOADED),
        (JudgeRefused, Reason.REFUSED),
        (BadReply, Reason.BAD_REPLY),
    ):
        if isinstance(error, kind):
            return reason
    return Reason.UNREACHABLE
