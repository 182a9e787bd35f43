"""Do the steps of a case against a server, and write down what is seen.

Nothing waits for a fixed time where something can be waited for. Where silence itself is what is looked at ("silent"),
a short time must do.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from parity import metrics, normalise
from parity.cases import Case, Request, Step, probe
from parity.exchange import Exchange
from parity.products import Flavour, Product

Seen = dict[str, Any]
"""What was seen, by step: each request under its name, each look under its number and kind."""

_SETTLED_AFTER = 0.15
"""Seconds in which no counter moves any more: the real server counts a request after it has answered."""


class Stuck(Exception):
    """Something that a case waits for did not come."""


class Runner:
    """Does one case against one server. `patience`: seconds that anything may take."""

    def __init__(self, product: Product, base_url: str, patience: float = 90.0) -> None:
        self.product = product
        self.base_url = base_url
        self.patience = patience
        self._exchanges: dict[str, Exchange] = {}
        self._counted: dict[str, dict[str, float]] = {}
        self._do: dict[str, Callable[[Mapping[str, Any]], Any]] = {
            "events": self._events,
            "answered": self._answered,
            "scheduled": self._scheduled,
            "running": lambda step: self._until(lambda: self._running() == step["running"], f"running: {step}"),
            "until": self._until_has,
            "silent": self._silent,
            "join": self._join,
            "same_text": self._same_text,
            "before": self._before,
            "count": self._count,
            "moved": self._moved,
            "gauges": self._gauges,
            "state": lambda _step: self.product.state(self._ask),
            "gone": self._gone,
        }

    def run(self, case: Case) -> Seen:
        """What the case sees. A case that gets stuck sees "stuck" and goes no further."""
        seen: Seen = {}
        try:
            for number, step in enumerate(case.steps, 1):
                self._step(number, step, seen)
        except Stuck as error:
            seen["stuck"] = str(error)
        for name, exchange in self._exchanges.items():
            seen[name] = normalise.answer(exchange)
        return seen

    def clean_up(self, flavour: Flavour) -> None:
        """Leave the server as it was: nobody waits, nothing runs, awake and not paused."""
        for exchange in self._exchanges.values():
            exchange.close()
        if flavour.dies:
            return
        if flavour.controlled:
            for request in self.product.wake:
                self._ask(replace(request, headers={**request.headers, **flavour.headers}))
        self._until(lambda: self.product.is_idle(self._ask, flavour.headers), "idle after the case")

    def _step(self, number: int, step: Step, seen: Seen) -> None:
        if step.request:
            exchange = Exchange(self.base_url, step.request)
            self._exchanges[step.request.name] = exchange
            seen[step.request.name] = None  # its place; what came back is known at the end
            if not step.request.background and not exchange.join(self.patience):
                raise Stuck(f"{step.request.name}: no answer")
            return
        result = self._do[step.kind](step.arguments)
        if result is not None:
            what = step.arguments[step.kind]
            seen[f"{number} {step.kind}{f' {what}' if what else ''}"] = result

    # --- waiting ---

    def _events(self, step: Mapping[str, Any]) -> None:
        if not self._exchanges[step["events"]].wait_for_events(step["at_least"], self.patience):
            raise Stuck(f"{step['events']} has not had {step['at_least']} events")

    def _answered(self, step: Mapping[str, Any]) -> None:
        if not self._exchanges[step["answered"]].wait_for_answer(self.patience):
            raise Stuck(f"{step['answered']} has had no headers")

    def _scheduled(self, _step: Mapping[str, Any]) -> None:
        """Wait until all requests so far are worked on: what was sent after them has been answered.

        The gauge of running requests would tell too, but the real server takes seconds for /metrics while it generates.
        """
        for exchange in self._exchanges.values():
            exchange.sent.wait(self.patience)
        if not Exchange(self.base_url, probe()).join(self.patience):
            raise Stuck("the probe was not answered")

    def _until_has(self, step: Mapping[str, Any]) -> None:
        method, _, path = step["until"].partition(" ")
        self._until(lambda: step["has"].items() <= self._json(method, path).items(), f"{step['until']}: {step['has']}")

    def _until(self, condition: Callable[[], bool], what: str) -> None:
        end = time.monotonic() + self.patience
        while not condition():
            if time.monotonic() > end:
                raise Stuck(f"not within {self.patience:g} s: {what}")
            time.sleep(0.02)

    def _join(self, step: Mapping[str, Any]) -> None:
        if not self._exchanges[step["join"]].join(self.patience):
            raise Stuck(f"{step['join']} has not ended")

    # --- looking ---

    def _silent(self, step: Mapping[str, Any]) -> bool:
        """True once nothing has come for a while; False if the request ends before that.

        What was on its way when the step began still arrives, on a busy machine late.
        """
        exchange = self._exchanges[step["silent"]]
        last = None
        while (now := exchange.seen()) != last and not exchange.ending:
            last = now
            time.sleep(step.get("seconds", 0.3))
        return not exchange.ending

    def _same_text(self, step: Mapping[str, Any]) -> bool:
        one, other = (normalise.text(self._exchanges[name]) for name in step["same_text"])
        return one == other

    def _before(self, step: Mapping[str, Any]) -> bool:
        """Whether the first of two answers ended before the second."""
        one, other = (self._exchanges[name].ended_at for name in step["before"])
        return one is not None and other is not None and one <= other

    def _count(self, step: Mapping[str, Any]) -> None:
        self._counted[step["count"]] = self._settled()

    def _moved(self, step: Mapping[str, Any]) -> dict[str, float | str]:
        old, new = self._counted[step["since"]], self._settled()
        return metrics.moved(old, new, step["moved"], step.get("signs", "(?!)"))

    def _gauges(self, step: Mapping[str, Any]) -> dict[str, float]:
        now = self._settled()
        return {name: value for name, value in now.items() if re.fullmatch(step["gauges"], name.partition("{")[0])}

    def _gone(self, _step: Mapping[str, Any]) -> bool:
        """True once nobody listens there any more."""
        self._until(lambda: self._ask(Request("GET", "/ready")).ending == "no connection", "the end of the server")
        return True

    # --- the server ---

    def _settled(self) -> dict[str, float]:
        """All samples, once they have stopped moving."""
        end = time.monotonic() + self.patience
        last = self._samples()
        while time.monotonic() < end:
            time.sleep(_SETTLED_AFTER)
            now = self._samples()
            if now == last:
                return now
            last = now
        raise Stuck("the counters do not settle")

    def _samples(self) -> dict[str, float]:
        page = self._get("GET", "/metrics").decode()
        # Others (time, memory, these very requests) never settle.
        at_rest = re.compile(self.product.metrics)
        samples = metrics.samples(page).items()
        return {name: value for name, value in samples if at_rest.fullmatch(name.partition("{")[0])}

    def _running(self) -> float:
        return self._samples().get(self.product.running, -1.0)

    def _json(self, method: str, path: str) -> dict[str, Any]:
        try:
            return dict(json.loads(self._get(method, path)))
        except ValueError:
            return {}

    def _get(self, method: str, path: str) -> bytes:
        return self._ask(Request(method, path)).body

    def _ask(self, request: Request) -> Exchange:
        exchange = Exchange(self.base_url, request)
        if not exchange.join(self.patience):
            raise Stuck(f"{request.method} {request.path}: no answer")
        return exchange
