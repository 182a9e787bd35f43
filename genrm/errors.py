"""Every error that genrm raises, in one tree.

::

    GenRMError
    ├── SettingsError (ValueError)      a GENRM_* variable or a reward_kwarg is wrong
    ├── TemplateError (ValueError)      a prompt template cannot be used
    ├── SampleError (ValueError)        what the caller handed over cannot be judged
    ├── JudgeError                      one request to the judge gave no reply
    │   ├── JudgeUnreachable            no connection, or it broke before a whole reply came
    │   ├── JudgeTimeout                a deadline passed
    │   ├── JudgeOverloaded             HTTP 408, 409, 425, 429 or 5xx: worth asking again
    │   ├── JudgeRefused                any other HTTP status: asking again will not help
    │   └── BadReply                    HTTP 200 with a body that is no chat completion
    ├── OffloadError                    the judge cannot be put to sleep or woken up as told
    │   ├── OffloadRefused              its server can do neither, as it was started
    │   └── JudgeGarbage                awake, but it does not know what it knew: its weights are lost
    └── NoVerdictError                  GENRM_ON_NO_VERDICT=raise, and the judge gave no verdict

All of them pickle (Ray carries them between processes), so they hold plain values only: the cause is its text,
not the foreign exception, which often does not pickle (aiohttp.ClientResponseError is one).
"""

from __future__ import annotations

from typing import Any


class GenRMError(Exception):
    """The root: catch it to catch whatever genrm raises on purpose."""


class SettingsError(GenRMError, ValueError):
    """A setting is wrong. The message names the variable, what it was and what is allowed."""


class TemplateError(GenRMError, ValueError):
    """A prompt template cannot be used. The message says where it came from and what it lacks."""


class SampleError(GenRMError, ValueError):
    """A sample cannot be judged as handed over. The message names what is missing and what is there."""


class JudgeError(GenRMError):
    """One request to the judge gave no reply.

    Attributes:
        url: the URL that was asked (without credentials).
        cause: what went wrong, as text.
        attempt: which attempt of the sample it was, from 1; 0 while not known.
        retryable: whether asking again may help.
        retry_after: seconds that the server asked us to wait, or None.
        status: the HTTP status, or None if there was none.
    """

    retryable = True

    def __init__(
        self,
        url: str,
        cause: str,
        *,
        attempt: int = 0,
        status: int | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(url, cause)
        self.url = url
        self.cause = cause
        self.attempt = attempt
        self.status = status
        self.retry_after = retry_after

    def __str__(self) -> str:
        attempt = f" (attempt {self.attempt})" if self.attempt else ""
        return f"{self.url}{attempt}: {self.cause}"

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.url, self.cause), self.__dict__


class JudgeUnreachable(JudgeError):
    """No connection to the judge, or it broke before a whole reply had come."""


class JudgeTimeout(JudgeError):
    """The judge did not reply in time. A sleeping vLLM looks just like this: it holds requests for ever."""


class JudgeOverloaded(JudgeError):
    """HTTP 408, 409, 425, 429 or 5xx: the judge cannot reply now."""


class JudgeRefused(JudgeError):
    """An HTTP status that asking again will not change: a wrong key, model or request."""

    retryable = False


class BadReply(JudgeError):
    """HTTP 200, but the body is no chat completion."""


class OffloadError(GenRMError):
    """The judge cannot be put to sleep or woken up as told."""


class OffloadRefused(OffloadError):
    """The judge's server cannot be put to sleep the way it was started. The message says what to set."""


class JudgeGarbage(OffloadError):
    """The judge is awake and does not know the verdicts it must know: what it says is no ground for a reward."""


class NoVerdictError(GenRMError):
    """The judge gave no verdict on a sample and GENRM_ON_NO_VERDICT=raise.

    Attributes:
        reason: the short code of why (see `genrm.verdicts.Reason`).
        attempts: how many requests were made.
        cause: the last failure as text, with its URL and attempt; "" if the judge did reply.
    """

    def __init__(self, reason: str, attempts: int, cause: str = "") -> None:
        super().__init__(reason, attempts, cause)
        self.reason = reason
        self.attempts = attempts
        self.cause = cause

    def __str__(self) -> str:
        last = f"; last failure: {self.cause}" if self.cause else ""
        return f"no verdict ({self.reason}) after {self.attempts} attempt(s){last}"
