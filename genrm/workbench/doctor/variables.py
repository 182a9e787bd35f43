"""Are the GENRM_* settings right: those of this shell, and those that a launch brings?"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from genrm.errors import GenRMError, SettingsError
from genrm.offload.canary import load_canaries
from genrm.prompts import load_template
from genrm.settings import PREFIX, Settings, overrides_in, unknown
from genrm.workbench.doctor.findings import Finding, failed, ok, skipped, warning
from genrm.workbench.doctor.launch import MODULES, Unknown
from genrm.workbench.doctor.wiring import Wiring


def settings_of(wiring: Wiring | None) -> tuple[Settings | None, list[Finding]]:
    """The settings that the run would have: its reward_kwargs, else its variables, else those of this shell.

    None where one of them is wrong.
    """
    variables = {**_environment(), **(wiring.launch.variables if wiring else {})}
    variables.pop(MODULES, None)
    findings = [_misspelt(name) for name in variables if _field(name) not in Settings.model_fields]
    findings += [
        skipped(f"{name}={value}: what the shell makes of it is not known here, so it is left out")
        for name, value in variables.items()
        if isinstance(value, Unknown)
    ]
    given: dict[str, Any] = {
        _field(name): value
        for name, value in variables.items()
        if _field(name) in Settings.model_fields and not isinstance(value, Unknown)
    }
    if wiring and wiring.calls_genrm:
        try:
            given.update(overrides_in(wiring.kwargs))
        except SettingsError:
            return None, findings  # said where the reward_kwargs are checked
    try:
        settings = Settings.load(**given)
    except SettingsError as error:
        return None, [*findings, *(_wrong(line) for line in str(error).splitlines())]
    missing = _files(settings)
    return None if missing else settings, [_summary(settings), *findings, *missing]


def _environment() -> dict[str, Any]:
    return {name.upper(): value for name, value in os.environ.items() if name.upper().startswith(PREFIX)}


def _field(name: str) -> str:
    return name.removeprefix(PREFIX).lower()


def _misspelt(name: str) -> Finding:
    what, _, hint = unknown(name).partition("; ")
    return warning(f"{what}, so it does nothing", hint.replace("did you mean ", f"did you mean {PREFIX}"))


def _wrong(line: str) -> Finding:
    what, _, allowed = line.partition("; allowed: ")
    return failed(what, f"allowed: {allowed}" if allowed else "")


def _summary(settings: Settings) -> Finding:
    urls = ", ".join(settings.base_url)
    offload = ", and sleeps while training needs the GPU" if settings.use_offload else ""
    return ok(f"the judge is {settings.model_name} at {urls} ({settings.server_backend}){offload}")


def _files(settings: Settings) -> list[Finding]:
    """What the settings name must be there."""
    template = _loaded(lambda: load_template(settings.prompt_template, settings.include_reference))
    return [*template, *_loaded(lambda: load_canaries(settings.canary))]


def _loaded(load: Callable[[], object]) -> list[Finding]:
    try:
        load()
    except GenRMError as error:
        return [failed(str(error), "")]
    return []
