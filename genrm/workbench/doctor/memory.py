"""Can the judge sleep, as its server was started; and does it wake with its wits? For GENRM_USE_OFFLOAD."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from packaging.version import Version

from genrm.offload.lease import Offload
from genrm.offload.memory import LEAST_GIB, MemoryWatch, open_probe
from genrm.offload.servers import Control, Seen
from genrm.offload.sglang import NOT_SAVING, workers_behind
from genrm.offload.vllm import NO_DEV_MODE
from genrm.settings import Settings
from genrm.workbench.doctor.findings import Finding, failed, ok, skipped, warning
from genrm.workbench.doctor.servers import Kind, Served, identify, json_object
from genrm.workbench.offloading import describe_holders


async def look(control: Control, served: Served) -> Seen | None:
    """Whether the server sleeps; None where it cannot be asked. Raises JudgeError."""
    if served.kind is Kind.ROUTER:
        workers = await workers_behind(control)
        seen = {await look(control.at(url), Served(url, Kind.SGLANG)) for url in workers}
        return Seen.ASLEEP if Seen.ASLEEP in seen else seen.pop()
    path = {Kind.VLLM: "/is_sleeping", Kind.SGLANG: "/ready"}.get(served.kind)
    if path is None:
        return None
    response = await control.call("GET", path)
    if served.kind is Kind.SGLANG:
        return {200: Seen.AWAKE, 503: Seen.ASLEEP}.get(response.status_code)
    asleep = json_object(response).get("is_sleeping")
    return {True: Seen.ASLEEP, False: Seen.AWAKE}.get(asleep)  # type: ignore[arg-type]


async def check_flags(control: Control, served: Served, settings: Settings) -> list[Finding]:
    """Whether the server was started so that it can sleep, and what its version means for that."""
    if served.kind is Kind.VLLM:
        return [*await _vllm_flags(control, served), *_vllm_rules(served, settings)]
    if served.kind is Kind.SGLANG:
        return list(_sglang_flags(served))
    if served.kind is Kind.ROUTER:
        workers = [await identify(control.at(url)) for url in await workers_behind(control)]
        return [finding for worker in workers for finding in _sglang_flags(worker)]
    return [failed(f"{served.url} is neither vLLM nor SGLang, so it cannot be put to sleep", "GENRM_USE_OFFLOAD=0")]


async def _vllm_flags(control: Control, served: Served) -> list[Finding]:
    if (await control.call("GET", "/is_sleeping")).status_code == 404:
        what, _, fix = NO_DEV_MODE.format(url=served.url).partition(". ")
        return [failed(what, fix)]
    findings = [ok("dev mode is on: /sleep, /wake_up and /is_sleeping are there")]
    info = json_object(await control.call("GET", "/server_info?config_format=json"))
    try:
        enabled = info["vllm_config"]["model_config"]["enable_sleep_mode"]
    except (KeyError, TypeError):  # an older one gives a text
        return [*findings, skipped("whether it was started with --enable-sleep-mode it does not say")]
    if enabled:
        return [*findings, ok("--enable-sleep-mode is on")]
    what = "it was started without --enable-sleep-mode: it would say that it sleeps, and keep its memory"
    return [*findings, failed(what, "start it with --enable-sleep-mode")]


@cache
def _vllm_table() -> list[Mapping[str, Any]]:
    rows: list[Mapping[str, Any]] = yaml.safe_load(Path(__file__).with_name("vllm.yaml").read_text(encoding="utf-8"))
    return rows


def _vllm_rules(served: Served, settings: Settings) -> Iterator[Finding]:
    if served.version is None:
        yield warning("its version cannot be read; it is taken for the newest", "is it a build of your own?")
        return
    release = Version(served.version.base_version)  # 0.24.0rc1 is as 0.24
    for row in _vllm_table():
        if Version(row.get("since", "0")) <= release < Version(row.get("before", "9999")):
            what = f"{served.version}: {row['what']}"
            yield warning(what, row["fix"]) if "fix" in row else ok(what)
    if settings.sleep_level == 2:
        yield ok("level 2: the weights are dropped, and loaded again at each wake (GENRM_RELOAD_WEIGHTS)")


def _sglang_flags(served: Served) -> Iterator[Finding]:
    for key, what in (
        ("enable_memory_saver", "it would say that it sleeps and keep its memory"),
        ("enable_weights_cpu_backup", "its weights would be lost while it sleeps"),
    ):
        flag = "--" + key.replace("_", "-")
        if served.info.get(key):
            yield ok(f"{flag} is on at {served.url}")
        else:
            wrong, _, fix = NOT_SAVING.format(url=served.url, flag=flag, what=what).partition(". ")
            yield failed(wrong, fix)


async def check_round_trip(offload: Offload, settings: Settings, *, leave_asleep: bool) -> list[Finding]:
    """Sleep, wake, canaries, by the ledger. Nothing is done while somebody holds a lease.

    Args:
        leave_asleep: put the judge to sleep again at the end.

    Raises:
        OffloadError, JudgeError: it cannot sleep, cannot wake, or is awake and answers garbage.
    """
    memory = MemoryWatch(open_probe(settings.base_url))
    used, began = await memory.used(), time.monotonic()
    if not await offload.dismiss():
        holders = "; ".join(describe_holders(await offload.state()))
        return [skipped(f"the judge is needed and was not put to sleep: {holders}", "when the run is over, try again")]
    findings = [
        ok(f"asleep after {time.monotonic() - began:.2f} s"),
        _given_back(await memory.compare(used)),
    ]
    began = time.monotonic()
    async with offload.awake():
        canaries = "" if settings.canary == "off" else ", and knows the canaries' verdicts"
        findings.append(ok(f"awake after {time.monotonic() - began:.2f} s{canaries}"))
    if leave_asleep:
        await offload.dismiss()
        findings.append(ok("asleep again, as it was found"))
    return findings


def _given_back(freed: float | None) -> Finding:
    if freed is None:
        return skipped(
            "whether its memory came back cannot be seen from here",
            "pip install 'genrm-harness[gpu]' on the judge's host, and run this there",
        )
    if freed < LEAST_GIB:
        return failed(
            f"only {freed:.1f} GiB of GPU memory came back",
            "start vLLM with --enable-sleep-mode, SGLang with --enable-memory-saver",
        )
    return ok(f"{freed:.1f} GiB of GPU memory came back")
