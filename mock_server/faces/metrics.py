"""GET /metrics: the counters of one mock server in Prometheus' words, by prometheus_client (contract section 4).

Each mock has a registry of its own. Nothing is prepared on the way of a request: the numbers are plain (stats.py,
traffic.py) and become families only when somebody looks.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import yaml
from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from mock_server.engine.machine import Engine
from mock_server.engine.stats import OPERATION, EngineStats, Histogram
from mock_server.serving.traffic import Traffic
from mock_server.versions import Profile

CONTENT_TYPE = "text/plain; version=1.0.0; charset=utf-8"
OTHER_CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
"""What every method but GET gets, and every path that only begins with /metrics: another app answers there."""
OPERATIONS = ("sleep", "wake", "release_kv_cache_memory")

Labelled = list[tuple[tuple[str, ...], Any]]
"""Values (numbers or histograms) by the labels that tell them apart, as metrics with more than one sample have them."""


class Metrics:
    """The metrics of one server: what its registry holds, and how long its sleep operations took."""

    def __init__(self, engine: Engine, model: str, traffic: Traffic, version: Profile) -> None:
        self._times_sleep = "sleep_mode_operation_duration_seconds" not in version.absent_metrics
        self.durations: dict[str, Histogram] = {}
        self.in_flight = dict.fromkeys(OPERATIONS, 0)
        self._registry = CollectorRegistry(auto_describe=False)
        PlatformCollector(registry=self._registry)
        ProcessCollector(registry=self._registry)
        GCCollector(registry=self._registry)
        self._registry.register(_EngineCollector(engine, model, version))
        self._registry.register(_OperationCollector(self))
        self._registry.register(_TrafficCollector(traffic))

    def page(self) -> bytes:
        """All of it, as text."""
        return generate_latest(self._registry)

    def operation(self, name: str) -> Operation:
        """To be held (`with`) while a sleep operation runs."""
        if self._times_sleep and not self.durations:
            # Absent until the first of them, as on the real server.
            self.durations = {operation: Histogram(OPERATION) for operation in OPERATIONS}
        return Operation(self, name)


class Operation:
    """One call of /sleep, /wake_up or /release_kv_cache_memory, timed; one that fails counts too."""

    def __init__(self, metrics: Metrics, name: str) -> None:
        self.metrics = metrics
        self.name = name
        self.started = 0.0

    def __enter__(self) -> None:
        self.started = time.perf_counter()
        self.metrics.in_flight[self.name] += 1

    def __exit__(self, *exc_info: object) -> None:
        self.metrics.in_flight[self.name] -= 1
        if self.metrics.durations:
            self.metrics.durations[self.name].observe(time.perf_counter() - self.started)


class _EngineCollector(Collector):
    """metrics.yaml, filled in."""

    def __init__(self, engine: Engine, model: str, version: Profile) -> None:
        self.engine = engine
        self.finish_reasons = version.finish_reasons
        self.labels = {"model_name": model.encode(errors="replace").decode(), "engine": "0"}
        self.created = time.time()
        path = Path(__file__).with_name("metrics.yaml")
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
        table: list[tuple[str, str, str, str]] = data["metrics"]
        self.table = [row for row in table if row[0] not in version.absent_metrics]
        self.cache_config: dict[str, str] = data["cache_config"]

    def collect(self) -> Iterator[Metric]:
        page = _Page(self.engine, self.cache_config, self.finish_reasons)
        for name, kind, documentation, source in self.table:
            stats: Any = page if source.startswith(".") else self.engine.stats
            value = getattr(stats, source.lstrip("."))
            labels = {"engine": "0"} if name == "cache_config_info" else self.labels
            yield from _families(f"vllm:{name}", kind, documentation, labels, value, self.created)


class _Page:
    """What is not counted but looked at."""

    def __init__(self, engine: Engine, cache_config: dict[str, str], finish_reasons: tuple[str, ...]) -> None:
        self.engine = engine
        self.finish_reasons = finish_reasons
        self.cache_config = {",".join(cache_config): [(tuple(cache_config.values()), 1)]}
        self.stats: EngineStats = engine.stats
        # What hangs in a sleeping engine is not "waiting" there: gauges move with engine steps only.
        self.waiting = 0
        self.nothing = 0
        self.kv_cache_usage = 0.0

    @property
    def running(self) -> int:
        return self.engine.shown_running

    @property
    def waiting_by_reason(self) -> dict[str, Labelled]:
        return {"reason": [(("capacity",), 0), (("deferred",), 0)]}

    @property
    def sleep_state(self) -> dict[str, Labelled]:
        level = self.engine.sleep_level
        states = (("awake", level is None), ("weights_offloaded", level == 1), ("discard_all", level == 2))
        return {"sleep_state": [((state,), float(on)) for state, on in states]}

    @property
    def by_finish(self) -> dict[str, Labelled]:
        return {"finished_reason": [((reason,), self.stats.finished[reason]) for reason in self.finish_reasons]}

    @property
    def by_source(self) -> dict[str, Labelled]:
        cached = self.stats.cached_tokens
        computed = max(0, self.stats.prompt_tokens - cached)
        sources = (("local_compute", computed), ("local_cache_hit", cached), ("external_kv_transfer", 0))
        return {"source": [((source,), value) for source, value in sources]}

    @property
    def cached_by_source(self) -> dict[str, Labelled]:
        sources = ("device", "host", "p2p", "disk", "external_unspecified")
        cached = self.stats.cached_tokens
        return {"source": [((source,), cached if source == "device" else 0) for source in sources]}


class _OperationCollector(Collector):
    def __init__(self, metrics: Metrics) -> None:
        self.metrics = metrics
        self.created = time.time()

    def collect(self) -> Iterator[Metric]:
        name = "vllm:sleep_mode_operation"
        durations: Labelled = [((operation,), histogram) for operation, histogram in self.metrics.durations.items()]
        flights: Labelled = [((operation,), count) for operation, count in self.metrics.in_flight.items()]
        if not durations:
            return
        documentation = "Duration of one sleep-mode operation."
        value = {"operation": durations}
        yield from _families(f"{name}_duration_seconds", "histogram", documentation, {}, value, self.created)
        documentation = "Sleep-mode operations currently awaited."
        yield from _families(f"{name}s_in_flight", "gauge", documentation, {}, {"operation": flights}, self.created)


class _TrafficCollector(Collector):
    """What prometheus-fastapi-instrumentator adds to the real server."""

    def __init__(self, traffic: Traffic) -> None:
        self.traffic = traffic
        self.created = time.time()

    def collect(self) -> Iterator[Metric]:
        counts: Labelled = list(self.traffic.requests.items())
        value = {"method,status,handler": counts}
        documentation = "Total number of requests by method, status and handler."
        yield from _families("http_requests", "counter", documentation, {}, value, self.created)
        documentation = "Latency with only few buckets by handler."
        durations: Labelled = list(self.traffic.durations.items())
        value = {"handler,method": durations}
        yield from _families("http_request_duration_seconds", "histogram", documentation, {}, value, self.created)


def _families(
    name: str, kind: str, documentation: str, labels: dict[str, str], value: Any, created: float
) -> Iterable[Metric]:
    """One metric, and for what grows the moment since when: `_created`, a gauge by itself in this format."""
    names, samples = list(labels), [((), value)]
    if isinstance(value, dict):
        ((more, samples),) = value.items()
        names += more.split(",")
    values = [(*labels.values(), *extra) for extra, _ in samples]
    family: GaugeMetricFamily | CounterMetricFamily | HistogramMetricFamily
    if kind == "histogram":
        family = HistogramMetricFamily(name, documentation, labels=names)
        for row, (_, histogram) in zip(values, samples, strict=True):
            family.add_metric(row, histogram.cumulative(), histogram.total)
    elif kind == "counter":
        family = CounterMetricFamily(name, documentation, labels=names)
        for row, (_, number) in zip(values, samples, strict=True):
            family.add_metric(row, number)
    else:
        family = GaugeMetricFamily(name, documentation, labels=names)
        for row, (_, number) in zip(values, samples, strict=True):
            family.add_metric(row, number)
    yield family
    if kind != "gauge":
        since = GaugeMetricFamily(f"{name}_created", documentation, labels=names)
        for row in values:
            since.add_metric(row, created)
        yield since
