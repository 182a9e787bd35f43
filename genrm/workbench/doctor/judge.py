"""The judge's servers, examined one after the other, and then put to sleep and woken together."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AsyncExitStack
from dataclasses import dataclass

import httpx

from genrm.errors import GenRMError, JudgeError
from genrm.judge import Judge
from genrm.offload.lease import Offload
from genrm.offload.servers import Control, Seen
from genrm.settings import Settings
from genrm.transport import MendedTransport
from genrm.workbench.doctor.answers import check_canaries, check_structured
from genrm.workbench.doctor.findings import Finding, failed, ok, skipped
from genrm.workbench.doctor.memory import check_flags, check_round_trip, look
from genrm.workbench.doctor.report import Report
from genrm.workbench.doctor.servers import (
    Kind,
    Served,
    check_backend,
    check_exposure,
    check_models,
    identify,
    own_addresses,
    unreachable,
)
from genrm.workbench.offloading import opened

PROBE_SECONDS = 20.0
"""For what a server answers at once; SGLang takes a second for it, and more when it is busy."""
FLAGS_SECONDS = 60.0
"""vLLM's first /server_info takes seconds."""
MARGIN_SECONDS = 10.0
"""Beyond the deadlines that a check has within."""


@dataclass
class _Patient:
    """What is known of the server at a base URL so far.

    Attributes:
        served: what it is.
        control: asks it, with the key.
        sound: it answers, takes the key and serves the model.
        may_sleep: it was started so that it can sleep.
        seen: whether it sleeps; None where it does not say.
    """

    served: Served
    control: Control
    sound: bool = False
    may_sleep: bool = False
    seen: Seen | None = None

    @property
    def url(self) -> str:
        return self.served.url


async def examine_judge(report: Report, settings: Settings, round_trip: bool | None, timeout: float) -> None:
    """Make all checks of the judge's servers.

    Args:
        round_trip: put the judge to sleep and wake it; None: if GENRM_USE_OFFLOAD is on.
        timeout: seconds that a reply may take, at most.
    """
    settings = settings.model_copy(update={"request_timeout": min(settings.request_timeout, timeout)})
    external = settings.server_backend == "openai"
    async with httpx.AsyncClient(transport=MendedTransport(trust_env=external)) as http:
        wanted = not external and (settings.use_offload if round_trip is None else round_trip)
        await _Examination(report, settings, http, wanted).run()


class _Examination:
    def __init__(self, report: Report, settings: Settings, http: httpx.AsyncClient, round_trip: bool) -> None:
        self._report = report
        self._settings = settings
        self._http = http
        self._round_trip = round_trip
        self._render = Judge(settings).render_canary

    async def run(self) -> None:
        patients = [await self._server(url) for url in self._settings.base_url]
        asleep = any(patient.seen is Seen.ASLEEP for patient in patients)
        async with AsyncExitStack() as stack:
            offload = await self._open(stack, patients)
            async with AsyncExitStack() as lease:
                if offload and asleep:
                    self._report.section("asleep")
                    await self._report.check("waking it", self._wake_seconds, _wake(lease, offload, patients))
                for patient in patients:
                    await self._answers(patient)
            if offload:
                await self._sleep_and_wake(offload, patients, leave_asleep=asleep)

    async def _server(self, url: str) -> _Patient:
        """What it is, whether it lets us in, and whether it could sleep."""
        report, settings = self._report, self._settings
        report.section(f"server {url}")
        key = settings.api_key.get_secret_value()
        control = Control(url, self._http, "" if key == "EMPTY" else key)
        patient = _Patient(Served(url), control)
        if not await report.check("what it is", PROBE_SECONDS, self._identified(patient)):
            return patient
        patient.sound = await report.check("its models", PROBE_SECONDS, check_models(control, patient.served, settings))
        if settings.server_backend == "openai":
            return patient
        await report.check("whether it sleeps", PROBE_SECONDS, self._state(patient))
        if patient.seen and patient.served.kind is not Kind.ROUTER:
            exposure = check_exposure(self._http, patient.served, own_addresses())
            await report.check("who can reach it", PROBE_SECONDS, exposure)
        if settings.use_offload or self._round_trip:
            flags = check_flags(control, patient.served, settings)
            patient.may_sleep = await report.check("whether it can sleep", FLAGS_SECONDS, flags)
        return patient

    async def _identified(self, patient: _Patient) -> list[Finding]:
        try:
            if self._settings.server_backend != "openai":
                patient.served = await identify(patient.control)
            else:
                await patient.control.call("GET", "/v1/models")
        except JudgeError as error:
            return [unreachable(error)]
        return check_backend(patient.served, self._settings)

    async def _state(self, patient: _Patient) -> list[Finding]:
        patient.seen = await look(patient.control, patient.served)
        if patient.seen is not Seen.ASLEEP:
            return []
        if self._round_trip or self._settings.use_offload:
            return [ok("it is asleep")]
        return [failed("it is asleep: every request hangs until somebody wakes it", "`genrm offload wake`")]

    async def _open(self, stack: AsyncExitStack, patients: Iterable[_Patient]) -> Offload | None:
        if not self._round_trip or not all(patient.sound and patient.may_sleep for patient in patients):
            return None
        try:
            return await stack.enter_async_context(opened(self._settings))
        except GenRMError as error:
            self._report.add(failed(str(error), ""))
            return None

    async def _answers(self, patient: _Patient) -> None:
        report, settings = self._report, self._settings
        if not patient.sound:
            return
        report.section(f"judge {patient.url}")
        if patient.seen is Seen.ASLEEP:
            report.add(skipped("it is asleep, and was not asked", "--round-trip wakes it"))
            return
        seconds = 2 * settings.request_timeout + MARGIN_SECONDS
        canaries = check_canaries(settings, self._http, patient.url, self._render)
        patient.sound = await report.check("verdicts on the canaries", seconds, canaries)
        if patient.sound:
            structured = check_structured(settings, self._http, patient.served)
            await report.check("a bound reply", seconds, structured)

    async def _sleep_and_wake(self, offload: Offload, patients: Iterable[_Patient], leave_asleep: bool) -> None:
        self._report.section("sleep and wake")
        if not all(patient.sound for patient in patients):
            self._report.add(skipped("not tried: the judge is not sound"))
            return
        seconds = self._wake_seconds + 2 * self._settings.sleep_timeout
        trip = check_round_trip(offload, self._settings, leave_asleep=leave_asleep)
        await self._report.check("sleep and wake", seconds, trip)

    @property
    def _wake_seconds(self) -> float:
        return self._settings.wake_timeout + MARGIN_SECONDS


async def _wake(lease: AsyncExitStack, offload: Offload, patients: Iterable[_Patient]) -> list[Finding]:
    """Hold a lease for as long as `lease` is open."""
    await lease.enter_async_context(offload.awake())
    await offload.restored(offload.wakes)  # the ledger may say that it is awake, and a stranger have put it to sleep
    for patient in patients:
        patient.seen = Seen.AWAKE
    return [ok("woken, so that it can be asked")]
