"""What becomes of samples without verdict: what they are paid, and whether the estimator leaves them out."""

from __future__ import annotations

import os

from genrm.settings import Settings
from genrm.workbench.doctor.findings import Finding, failed, ok, warning
from genrm.workbench.doctor.launch import MODULES
from genrm.workbench.doctor.wiring import Wiring

ESTIMATOR, PLUGIN = "genrm_grpo", "genrm.verl_plugin"
_KEY = "algorithm.adv_estimator"
_SKIP = "GENRM_ON_NO_VERDICT=skip"
_LEFT_OUT = frozenset({"skip", "nan"})


def check_no_verdicts(wiring: Wiring, settings: Settings) -> list[Finding]:
    """Whether estimator and GENRM_ON_NO_VERDICT go together."""
    if not wiring.calls_genrm:
        return []
    if wiring.known(_KEY) == ESTIMATOR:
        return _by_estimator(wiring, settings)
    use = f"{_KEY}={ESTIMATOR} and {MODULES}={PLUGIN}"
    if settings.on_no_verdict == "nan":
        return [failed("GENRM_ON_NO_VERDICT is nan, and one NaN makes NaN of all advantages of its group", use)]
    if settings.on_no_verdict == "skip":
        return [warning(f"GENRM_ON_NO_VERDICT is skip, and nothing but {ESTIMATOR} skips: it counts as 0", use)]
    return [ok(f"a sample without verdict counts in its group, by GENRM_ON_NO_VERDICT={settings.on_no_verdict}")]


def _by_estimator(wiring: Wiring, settings: Settings) -> list[Finding]:
    findings = []
    if PLUGIN not in str(wiring.launch.variables.get(MODULES) or os.environ.get(MODULES, "")):
        findings.append(
            warning(f"{ESTIMATOR} is in {PLUGIN}, and {MODULES} does not name it here", f"{MODULES}={PLUGIN}")
        )
    if wiring.known("algorithm.use_kl_in_reward"):
        fix = "actor_rollout_ref.actor.use_kl_loss=True instead"
        findings.append(failed(f"{ESTIMATOR} refuses algorithm.use_kl_in_reward", fix))
    if settings.on_no_verdict not in _LEFT_OUT:
        what = f"GENRM_ON_NO_VERDICT is {settings.on_no_verdict}, so {ESTIMATOR} leaves no sample out"
        findings.append(warning(what, _SKIP))
    elif settings.on_no_verdict == "skip" and wiring.known("reward.reward_kwargs.overlong_buffer_cfg.enable"):
        what = "a penalty for length is added to what GENRM_ON_NO_VERDICT=skip pays, which is not known by it any more"
        findings.append(failed(what, "GENRM_ON_NO_VERDICT=nan"))
    if settings.on_no_verdict in _LEFT_OUT and wiring.known("algorithm.filter_groups.enable"):
        what = (
            "algorithm.filter_groups drops groups whose rewards are all the same, but not where one has no verdict: "
            "nothing is learned from those"
        )
        findings.append(warning(what, "see that there are few: a higher GENRM_MAX_RETRIES, GENRM_MAX_TOKENS"))
    return findings or [ok(f"{ESTIMATOR} leaves samples without verdict out of their group")]
