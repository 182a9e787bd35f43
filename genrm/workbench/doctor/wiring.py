"""Is the reward function really called? What verl ignores in silence is found here, before the run."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass
from typing import Any

import anyio

from genrm.errors import SettingsError
from genrm.settings import PREFIX, Settings, overrides_in
from genrm.workbench.doctor.findings import Finding, failed, ok, skipped, warning
from genrm.workbench.doctor.launch import Launch, Unknown
from genrm.workbench.doctor.verl import Verl, effective, facts, moved_keys, new_keys, old_name

OURS = "pkg://genrm.reward_function"
_FUNCTION = "reward.custom_reward_function"


@dataclass(frozen=True)
class Wiring:
    """What a launch comes to in a version of verl.

    Attributes:
        launch: as it is written.
        verl: the version.
        obeys: which names of keys count: "old", "new" or "both".
        values: what counts, by the new names.
    """

    launch: Launch
    verl: Verl
    obeys: str
    values: dict[str, Any]

    @classmethod
    def of(cls, launch: Launch, verl: Verl) -> Wiring:
        """Resolve a launch."""
        obeys = verl.obeys(launch)
        return cls(launch, verl, obeys, effective(launch, obeys))

    def name(self, key: str) -> str:
        """A key as it must be written for this version."""
        return old_name(key) if self.obeys == "old" else key

    def known(self, key: str) -> Any:
        """A key's value, None where it is not set or not known here."""
        value = self.values.get(key)
        return None if isinstance(value, Unknown) else value

    @property
    def calls_genrm(self) -> bool:
        """Whether the function is genrm's, or one around it, as far as its path tells."""
        return "genrm" in str(self.values.get(f"{_FUNCTION}.path"))

    @property
    def kwargs(self) -> dict[str, Any]:
        """The reward_kwargs that are known here."""
        start = f"{_FUNCTION}.reward_kwargs."
        return {
            key.removeprefix(start): value
            for key, value in self.values.items()
            if key.startswith(start) and not isinstance(value, Unknown)
        }


def check_keys(wiring: Wiring) -> list[Finding]:
    """Keys that this version refuses, or ignores in silence."""
    verl = f"verl {wiring.verl.version}"
    findings = [ok(f"read by the rules of {verl} ({wiring.verl.source})")]
    if wiring.obeys == "new":
        for key in moved_keys(wiring.launch):
            what = f"{key.old} is accepted by {verl} and ignored in silence"
            if key.new in wiring.launch.values:
                findings.append(ok(f"{what}; {key.new} is set, too, and counts"))
            else:
                findings.append(failed(what, _override(key.new, key.value)))
    if wiring.obeys == "old":
        findings += [
            failed(f"{verl} does not know {key}", _override(old_name(key), wiring.launch.values[key]))
            for key in new_keys(wiring.launch)
        ]
    return findings


def _override(key: str, value: Any) -> str:
    """As it is to be written in a launch script."""
    added = "+" if any(part in key for part in facts()["added"]) else ""
    return f"{added}{key}={'naive' if value in facts()['gone'] else value}"


async def check_function(wiring: Wiring) -> list[Finding]:
    """Whether there is a reward function, and whether verl can import and await it."""
    key = f"{_FUNCTION}.path"
    path, function = wiring.values.get(key), wiring.known(f"{_FUNCTION}.name")
    if isinstance(path, Unknown) or function is None:
        return [skipped(f"{wiring.name(key)} is {path}: what the shell makes of it is not known here")]
    if not path:
        fix = f"{wiring.name(key)}={OURS} {wiring.name(f'{_FUNCTION}.name')}=compute_score"
        return [failed("no reward function is set: verl pays by its own rule, and asks no judge", fix)]
    seen = await _import(str(path), str(function), wiring)
    if "error" in seen:
        fix = "install it where verl's workers run" if str(path).startswith("pkg://") else "give the path from here"
        return [failed(f"{path} cannot be imported: {seen['error']}", fix)]
    if not seen["found"]:
        return [failed(f"{path} has no function {function}", f"it has {', '.join(seen['functions']) or 'none'}")]
    if seen["is_async"]:
        return [ok(f"{path}: {function} is there, and async")]
    ours = f"{wiring.name(f'{_FUNCTION}.name')}=compute_score"
    if wiring.calls_genrm and function == "compute_score_batch":
        return [failed(f"{function} takes lists; verl's managers score sample by sample", ours)]
    if wiring.known("reward.reward_manager.name") == "remote":
        return [ok(f"{path}: {function} is there, and not async, as the reward manager remote wants it")]
    return [
        warning(
            f"{path}: {function} is not async: verl runs it in threads, few at once",
            ours if wiring.calls_genrm else f"write it as async def {function}",
        )
    ]


async def _import(path: str, function: str, wiring: Wiring) -> dict[str, Any]:
    """What `import_probe` says, in a process of its own: an import may do anything, and may end."""
    variables = {name: str(value) for name, value in wiring.launch.variables.items() if not isinstance(value, Unknown)}
    # As `python -m verl...` does: what lies in the working directory can be imported.
    command = [sys.executable, "-m", "genrm.workbench.doctor.import_probe", path, function]
    done = await anyio.run_process(command, check=False, env={**os.environ, **variables})
    lines = done.stdout.decode(errors="replace").strip().splitlines()
    try:
        seen: dict[str, Any] = json.loads(lines[-1])
    except (IndexError, ValueError):
        why = done.stderr.decode(errors="replace").strip().splitlines()
        return {"error": why[-1] if why else f"Python ended with {done.returncode}"}
    return seen


def check_kwargs(wiring: Wiring) -> list[Finding]:
    """Whether the reward_kwargs are settings."""
    if not wiring.kwargs:
        return []
    if not wiring.calls_genrm:
        return [skipped("reward_kwargs are not looked at: the function is not genrm's")]
    try:
        overrides = overrides_in(wiring.kwargs)
    except SettingsError as error:
        wrong, _, hint = str(error).partition("; ")
        return [failed(f"in reward_kwargs, {wrong}", hint)]
    ignored = [key for key in wiring.kwargs if key.lower().removeprefix(PREFIX.lower()) not in overrides]
    return [warning(f"genrm does not know the reward_kwarg {key} and leaves it out", "take it away") for key in ignored]


def check_manager(wiring: Wiring) -> list[Finding]:
    """Whether the reward manager is there and can await the function."""
    key = wiring.name("reward.reward_manager.name")
    name, source = wiring.known("reward.reward_manager.name"), wiring.known("reward.reward_manager.source")
    if name is None or source != "register":
        return [skipped(f"the reward manager ({name or 'not known here'}) is none of verl's own")]
    known = [*facts()["managers"], *(facts()["gone"] if wiring.obeys == "old" else ())]
    if name not in known:
        return [failed(f"verl {wiring.verl.version} has no reward manager {name}", f"{key}=naive")]
    if name == "remote":
        return [_remote(wiring)]
    if name == "rate_limited":
        return [_rate_limit(wiring)]
    return [ok(f"reward manager {name}")]


def _remote(wiring: Wiring) -> Finding:
    naive = f"{wiring.name('reward.reward_manager.name')}=naive"
    function = f"{_FUNCTION}.name"
    if wiring.calls_genrm and wiring.known(function) == "compute_score":
        fix = f"{naive}, or {wiring.name(function)}=compute_score_sync"
        return failed("the reward manager remote takes no async function", fix)
    return warning("reward manager remote: each of its processes asks for one sample at a time", naive)


def _rate_limit(wiring: Wiring) -> Finding:
    key = "reward.max_concurrent"
    limit = wiring.known(key)
    if key in wiring.values and limit != 1:
        return warning(
            f"reward manager rate_limited, {limit} at once in each worker: it scores errors as 0.0",
            f"{wiring.name('reward.reward_manager.name')}=naive with GENRM_MAX_WORKERS={limit} does not",
        )
    return warning(
        "reward manager rate_limited asks for one sample at a time in each worker, and scores errors as 0.0",
        f"{_override(wiring.name(key), 32)}, or better {wiring.name('reward.reward_manager.name')}=naive",
    )


def check_batch(wiring: Wiring, settings: Settings) -> list[Finding]:
    """Whether the judge will sleep with a batch's last sample, and how many requests come at once."""
    workers = wiring.known("reward.num_workers")
    findings = []
    if isinstance(workers, int):
        most = workers * settings.max_workers
        findings.append(ok(f"at most {most:,} requests at once: {workers} workers with {settings.max_workers} each"))
    if settings.use_offload:
        findings.append(_batch_size(wiring, settings.batch_size))
    return findings


def _batch_size(wiring: Wiring, size: int) -> Finding:
    keys = "data.train_batch_size", "actor_rollout_ref.rollout.n"
    prompts, rollouts = (wiring.known(key) for key in keys)
    if not (isinstance(prompts, int) and isinstance(rollouts, int)):
        unknown = ", ".join(f"{key}={wiring.values[key]}" for key in keys if wiring.known(key) is None)
        return skipped(f"GENRM_BATCH_SIZE is {size}; the samples of a step are not known here ({unknown})")
    samples = prompts * rollouts
    step = f"a step has {samples:,} samples ({keys[0]} {prompts:,} x {keys[1]} {rollouts})"
    if not size:
        return warning(
            f"{step}, and GENRM_BATCH_SIZE is not set: the judge sleeps only when it has been idle for a while, as "
            "training begins",
            f"GENRM_BATCH_SIZE={samples}",
        )
    if size != samples:
        return failed(f"{step}, and GENRM_BATCH_SIZE is {size:,}", f"GENRM_BATCH_SIZE={samples}")
    if wiring.known("algorithm.filter_groups.enable"):
        return warning(
            f"{step}, as GENRM_BATCH_SIZE says, but algorithm.filter_groups generates more where groups are dropped",
            "GENRM_BATCH_SIZE=0, and the judge sleeps when it has been idle for GENRM_IDLE_LINGER",
        )
    return ok(f"{step}, as GENRM_BATCH_SIZE says")


def check_reward_model(wiring: Wiring, settings: Settings) -> list[Finding]:
    """Whether verl serves the judge itself."""
    key = wiring.name("reward.reward_model.enable")
    if not wiring.known("reward.reward_model.enable"):
        return []
    if settings.use_offload:
        return [failed(f"{key} lets verl serve the judge and put it to sleep itself", "GENRM_USE_OFFLOAD=0")]
    return [ok(f"{key}: verl serves the judge itself, and GENRM_BASE_URL is not used")]
