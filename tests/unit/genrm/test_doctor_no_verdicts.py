"""Whether the estimator and what no verdict pays go together."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from genrm import Settings
from genrm.workbench.doctor.launch import MODULES, Launch, read_launch
from genrm.workbench.doctor.no_verdicts import check_no_verdicts
from genrm.workbench.doctor.variables import settings_of
from genrm.workbench.doctor.verl import Verl
from genrm.workbench.doctor.wiring import Wiring

OURS = {"reward.custom_reward_function.path": "pkg://genrm.reward_function"}
ESTIMATOR = {**OURS, "algorithm.adv_estimator": "genrm_grpo"}
PLUGIN = {MODULES: "mine,genrm.verl_plugin"}
LENGTH = {"reward.reward_kwargs.overlong_buffer_cfg.enable": True}


@pytest.fixture(autouse=True)
def _no_plugins_of_the_caller(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(MODULES, raising=False)


@pytest.mark.parametrize(
    ("values", "variables", "policy", "levels", "words"),
    [
        (OURS, {}, "rule", ["ok"], "counts in its group, by GENRM_ON_NO_VERDICT=rule"),
        (OURS, {}, 0.5, ["ok"], "GENRM_ON_NO_VERDICT=0.5"),
        (OURS, {}, "nan", ["failed"], "algorithm.adv_estimator=genrm_grpo and"),
        (OURS, {}, "skip", ["warning"], "it counts as 0"),
        (ESTIMATOR, PLUGIN, "skip", ["ok"], "leaves samples without verdict out"),
        (ESTIMATOR, PLUGIN, "nan", ["ok"], "leaves samples without verdict out"),
        (ESTIMATOR, {}, "skip", ["warning"], "VERL_USE_EXTERNAL_MODULES=genrm.verl_plugin"),
        (ESTIMATOR, PLUGIN, "zero", ["warning"], "GENRM_ON_NO_VERDICT=skip"),
        ({**ESTIMATOR, "algorithm.use_kl_in_reward": True}, PLUGIN, "skip", ["failed"], "use_kl_loss=True instead"),
        ({**ESTIMATOR, **LENGTH}, PLUGIN, "skip", ["failed"], "GENRM_ON_NO_VERDICT=nan"),
        ({**ESTIMATOR, **LENGTH}, PLUGIN, "nan", ["ok"], ""),
        ({**ESTIMATOR, "algorithm.filter_groups.enable": True}, PLUGIN, "skip", ["warning"], "filter_groups"),
        ({**ESTIMATOR, "reward.custom_reward_function.path": "mine.py"}, {}, "skip", [], ""),
    ],
)
def test_they_go_together(
    values: dict[str, Any], variables: dict[str, Any], policy: Any, levels: list[str], words: str
) -> None:
    launch = Launch(values=values, variables=variables)
    findings = check_no_verdicts(Wiring.of(launch, Verl.chosen("0.9.1", launch)), Settings.load(on_no_verdict=policy))
    assert [finding.level.value for finding in findings] == levels
    assert words in " ".join(f"{finding.what} {finding.fix}" for finding in findings)


def test_the_variable_is_read_from_scripts_and_is_no_setting(tmp_path: Path) -> None:
    script = tmp_path / "run.sh"
    script.write_text("export VERL_USE_EXTERNAL_MODULES=genrm.verl_plugin GENRM_ON_NO_VERDICT=skip\nmain_ppo a.b=1")
    launch = read_launch([script])
    assert launch.variables == {MODULES: "genrm.verl_plugin", "GENRM_ON_NO_VERDICT": "skip"}
    settings, findings = settings_of(Wiring.of(launch, Verl.chosen("0.9.1", launch)))
    assert settings is not None
    assert settings.on_no_verdict == "skip"
    assert [finding.level.value for finding in findings] == ["ok"]
