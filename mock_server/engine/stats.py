"""What the engine counts: plain numbers, cheap to add to. faces/metrics.py shows them (contract section 4)."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence

from mock_server.engine.generation import Generation

FINISH_REASONS = ("stop", "length", "abort", "error", "repetition")
LATENCY = (0.3, 0.5, 0.8, 1, 1.5, 2, 2.5, 5, 10, 15, 20, 30, 40, 50, 60, 120, 240, 480, 960, 1920, 7680)
FIRST_TOKEN = (
    *(0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10),
    *(20, 40, 80, 160, 640, 2560),
)
TOKEN_GAP = (0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 20, 40, 80)
FEW = (1, 2, 5, 10, 20)
PREEMPTIONS = (1, 2, 3, 4, 5, 10, 20)
STEP_TOKENS = (1, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384)
OPERATION = (0.01, 0.1, 1, 10, 30, 60, 120, 300, 600)


def token_buckets(most: int) -> tuple[int, ...]:
    """1, 2, 5, 10, 20, 50, ... up to `most`: the buckets of vLLM's token counts."""
    series = (mantissa * 10**power for power in range(len(str(most)) + 1) for mantissa in (1, 2, 5))
    return tuple(value for value in series if value <= most)


class Histogram:
    """Observations in buckets, with their sum."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, value: float, times: int = 1) -> None:
        """Add one observation, or several that are equal."""
        self.counts[bisect_left(self.bounds, value)] += times
        self.total += value * times

    def cumulative(self) -> list[tuple[str, float]]:
        """(upper bound, observations up to it), the last one without bound, as Prometheus wants them."""
        below, buckets = 0, []
        for bound, count in zip((*map(float, self.bounds), "+Inf"), self.counts, strict=True):
            below += count
            buckets.append((str(bound), float(below)))
        return buckets


class EngineStats:
    """The counters and histograms of one engine."""

    def __init__(self, max_model_len: int = 32768) -> None:
        tokens = token_buckets(max_model_len)
        self.prompt_tokens = 0
        self.cached_tokens = 0
        self.generation_tokens = 0
        self.prefix_queries = 0
        self.preemptions = 0
        self.finished = dict.fromkeys(FINISH_REASONS, 0)
        self.first_token = Histogram(FIRST_TOKEN)
        self.token_gap = Histogram(TOKEN_GAP)
        self.step_tokens = Histogram(STEP_TOKENS)
        self.n = Histogram(FEW)
        self.request_latency = Histogram(LATENCY)
        self.queue_time = Histogram(LATENCY)
        self.prefill_time = Histogram(LATENCY)
        self.decode_time = Histogram(LATENCY)
        self.inference_time = Histogram(LATENCY)
        self.time_per_token = Histogram(TOKEN_GAP)
        self.request_preemptions = Histogram(PREEMPTIONS)
        self.request_prompt_tokens = Histogram(tokens)
        self.request_computed_tokens = Histogram(tokens)
        self.request_generation_tokens = Histogram(tokens)
        self.request_most_tokens = Histogram(tokens)
        self.max_tokens = Histogram(tokens)

    def hear(self, generation: Generation, now: float) -> None:
        """Count what a generation has said since the last time, and who of it has ended. `now` in seconds."""
        for choice in generation.choices:
            new = choice.tokens - choice.counted
            if new:
                first = not choice.counted
                if first:
                    self.began(choice.plan.prompt_tokens, now - generation.submitted)
                self.said(new, now - generation.spoke, first)
                choice.counted = choice.tokens
            if choice.finish_reason and not choice.told:
                choice.told = True
                prompt = choice.plan.prompt_tokens, choice.cached_tokens
                times = generation.submitted, generation.started, now
                self.ended(choice.finish_reason, prompt, choice.tokens, times)
        generation.spoke = now

    def admitted(self, prompt_tokens: int, cached_tokens: int) -> None:
        """A prompt is being read, the beginning of it perhaps from the cache."""
        self.prefix_queries += prompt_tokens
        self.cached_tokens += cached_tokens

    def began(self, prompt_tokens: int, waited: float) -> None:
        """The first token of a choice is there, `waited` seconds after the request."""
        self.prompt_tokens += prompt_tokens
        self.first_token.observe(waited)

    def said(self, tokens: int, seconds: float, first: bool) -> None:
        """`tokens` more tokens of one choice, `seconds` after those before."""
        self.generation_tokens += tokens
        self.step_tokens.observe(tokens)
        gaps = tokens - first
        if gaps:
            self.token_gap.observe(seconds / tokens, gaps)

    def ended(self, reason: str, prompt: tuple[int, int], tokens: int, times: tuple[float, float, float]) -> None:
        """A choice has ended.

        `prompt` is its tokens and how many of them came from the cache, `times` are the moments of its submission, its
        start and its end, in seconds.
        """
        submitted, started, now = times
        prompt_tokens, cached = prompt
        running = now - started
        self.finished[reason] += 1
        self.request_latency.observe(now - submitted)
        self.queue_time.observe(started - submitted)
        self.prefill_time.observe(0.0)
        self.decode_time.observe(running)
        self.inference_time.observe(running)
        self.time_per_token.observe(running / (tokens - 1) if tokens > 1 else 0.0)
        self.request_preemptions.observe(0)
        self.request_prompt_tokens.observe(prompt_tokens)
        self.request_computed_tokens.observe(prompt_tokens - cached)
        self.request_generation_tokens.observe(tokens)
