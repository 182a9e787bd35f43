"""Whether verl would really call the reward function: what each of its versions obeys, refuses and ignores."""

from __future__ import annotations

from importlib import metadata
from typing import Any, Final

import pytest
from packaging.version import Version

from genrm import Settings
from genrm.workbench.doctor.findings import Finding, Level
from genrm.workbench.doctor.launch import Launch, LaunchError, Unknown
from genrm.workbench.doctor.verl import Verl, moved_keys, old_name
from genrm.workbench.doctor.wiring import (
    Wiring,
    check_batch,
    check_keys,
    check_kwargs,
    check_manager,
    check_reward_model,
)

PATH = "custom_reward_function.path"
OURS = "pkg://genrm.reward_function"


def wired(values: dict[str, Any], version: str = "0.9.1", *modules: str) -> Wiring:
    launch = Launch(values=values, modules=set(modules))
    return Wiring.of(launch, Verl.chosen(version, launch))


def levels(findings: list[Finding]) -> list[str]:
    return [finding.level.value for finding in findings]


class TestVersions:
    @pytest.mark.parametrize(
        ("version", "obeys"),
        [
            ("0.5.0", "old"),
            ("0.7.0", "old"),
            ("0.7.1", "both"),
            ("0.8.0", "both"),
            ("0.9.0", "new"),
            ("0.9.1", "new"),
            ("1.0", "new"),
        ],
    )
    def test_which_names_count(self, version: str, obeys: str) -> None:
        assert wired({}, version).obeys == obeys

    @pytest.mark.parametrize(
        ("modules", "obeys"),
        [
            (["verl.trainer.main_ppo"], "new"),
            (["verl.experimental.fully_async_policy.fully_async_main"], "both"),
            (["verl.experimental.fully_async_policy.fully_async_main", "verl.trainer.main_ppo"], "new"),
            (["tools.main_data", "verl.trainer.main_eval"], "both"),
        ],
    )
    def test_programs_that_obey_the_old_names_still(self, modules: list[str], obeys: str) -> None:
        assert wired({}, "0.9.1", *modules).obeys == obeys

    def test_the_installed_one(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(metadata, "version", lambda _: "0.8.0")
        assert Verl.chosen(None, Launch()) == Verl(Version("0.8.0"), "installed here")

    @pytest.mark.parametrize(("composed_by_old", "version"), [(False, "0.9.1"), (True, "0.7.0")])
    def test_none_installed(self, monkeypatch: pytest.MonkeyPatch, composed_by_old: bool, version: str) -> None:
        def missing(name: str) -> str:
            raise metadata.PackageNotFoundError(name)

        monkeypatch.setattr(metadata, "version", missing)
        assert Verl.chosen(None, Launch(composed_by_old=composed_by_old)).version == Version(version)

    def test_what_is_none(self) -> None:
        with pytest.raises(LaunchError, match=r"'newest' is no version of verl; a version is such as 0\.9\.1"):
            Verl.chosen("newest", Launch())


class TestKeys:
    @pytest.mark.parametrize(
        ("old", "new"),
        [
            (PATH, f"reward.{PATH}"),
            (
                "custom_reward_function.reward_kwargs.MAX_WORKERS",
                "reward.custom_reward_function.reward_kwargs.MAX_WORKERS",
            ),
            ("reward_model.reward_manager", "reward.reward_manager.name"),
            ("reward_model.num_workers", "reward.num_workers"),
            ("reward_model.enable", "reward.reward_model.enable"),
            ("reward_model.model.path", "reward.reward_model.model_path"),
            ("reward_model.rollout.name", "reward.reward_model.rollout.name"),
            ("reward_model.reward_kwargs.max_resp_len", "reward.reward_kwargs.max_resp_len"),
        ],
    )
    def test_where_they_went(self, old: str, new: str) -> None:
        assert [(moved.old, moved.new) for moved in moved_keys(Launch(values={old: 1}))] == [(old, new)]
        assert old_name(new) == old

    def test_old_ones_are_ignored_by_the_new_verl(self) -> None:
        wiring = wired({PATH: OURS, "custom_reward_function.reward_kwargs.MAX_WORKERS": 4})
        _, path, kwarg = check_keys(wiring)
        assert path.level is kwarg.level is Level.FAILED
        assert path.what == "custom_reward_function.path is accepted by verl 0.9.1 and ignored in silence"
        assert path.fix == f"reward.custom_reward_function.path={OURS}"
        assert kwarg.fix == "+reward.custom_reward_function.reward_kwargs.MAX_WORKERS=4"
        assert f"reward.{PATH}" not in wiring.values

    def test_no_manager_is_advised_that_is_gone(self) -> None:
        assert check_keys(wired({"reward_model.reward_manager": "batch"}))[1].fix == "reward.reward_manager.name=naive"

    def test_both_names_serve_both_versions(self) -> None:
        wiring = wired({PATH: "old.py", f"reward.{PATH}": "new.py"})
        assert levels(check_keys(wiring)) == ["ok", "ok"]
        assert wiring.values[f"reward.{PATH}"] == "new.py"

    def test_old_ones_are_right_before_and_go_first_in_between(self) -> None:
        for version in ("0.7.0", "0.8.0"):
            wiring = wired({PATH: OURS}, version)
            assert levels(check_keys(wiring)) == ["ok"]
            assert wiring.values[f"reward.{PATH}"] == OURS
        assert wired({PATH: "old.py", f"reward.{PATH}": "new.py"}, "0.8.0").values[f"reward.{PATH}"] == "old.py"

    def test_new_ones_are_refused_by_an_old_verl(self) -> None:
        wiring = wired({f"reward.{PATH}": OURS}, "0.7.0")
        [_, finding] = check_keys(wiring)
        assert finding == Finding(Level.FAILED, f"verl 0.7.0 does not know reward.{PATH}", f"{PATH}={OURS}")
        assert f"reward.{PATH}" not in wiring.values


class TestKwargs:
    def kwargs(self, values: dict[str, Any], path: str = OURS) -> list[Finding]:
        start = "reward.custom_reward_function."
        return check_kwargs(
            wired({f"{start}path": path, **{f"{start}reward_kwargs.{name}": value for name, value in values.items()}})
        )

    def test_settings(self) -> None:
        assert self.kwargs({"MAX_WORKERS": 4, "genrm_base_url": Unknown("$URL")}) == []

    def test_a_misspelt_one(self) -> None:
        [finding] = self.kwargs({"MAX_RETRYS": 4})
        assert finding.what == "in reward_kwargs, MAX_RETRYS is not a setting of genrm"
        assert finding.fix == "did you mean MAX_RETRIES?"

    def test_one_of_somebody_else(self) -> None:
        [finding] = self.kwargs({"verbose": 1})
        assert finding.level is Level.WARNING
        assert "does not know the reward_kwarg verbose" in finding.what

    def test_another_function(self) -> None:
        assert levels(self.kwargs({"anything": 1}, "mine.py")) == ["skipped"]

    def test_none(self) -> None:
        assert self.kwargs({}, "mine.py") == []


class TestManagers:
    @pytest.mark.parametrize(
        ("values", "version", "level", "fix"),
        [
            ({}, "0.9.1", "ok", ""),
            ({"reward.reward_manager.name": "dapo"}, "0.9.1", "ok", ""),
            ({"reward.reward_manager.name": "gdpo"}, "0.8.0", "ok", ""),
            ({"reward.reward_manager.name": "batch"}, "0.9.1", "failed", "reward.reward_manager.name=naive"),
            ({"reward_model.reward_manager": "prime"}, "0.8.0", "failed", "reward.reward_manager.name=naive"),
            ({"reward_model.reward_manager": "prime"}, "0.7.0", "ok", ""),
            ({"reward_model.reward_manager": "typo"}, "0.7.0", "failed", "reward_model.reward_manager=naive"),
            ({"reward.reward_manager.name": "remote"}, "0.9.1", "warning", "reward.reward_manager.name=naive"),
            ({"reward.reward_manager.name": Unknown("$MANAGER")}, "0.9.1", "skipped", ""),
            ({"reward.reward_manager.source": "importlib"}, "0.9.1", "skipped", ""),
        ],
    )
    def test_which_serve(self, values: dict[str, Any], version: str, level: str, fix: str) -> None:
        [finding] = check_manager(wired(values, version))
        assert (finding.level.value, finding.fix) == (level, fix)

    @pytest.mark.parametrize(("function", "level"), [(None, "failed"), ("compute_score_sync", "warning")])
    def test_the_one_that_cannot_await(self, function: str | None, level: str) -> None:
        values = {"reward.reward_manager.name": "remote", f"reward.{PATH}": OURS}
        if function:
            values["reward.custom_reward_function.name"] = function
        [finding] = check_manager(wired(values))
        assert finding.level.value == level
        assert ("compute_score_sync" in finding.fix) == (level == "failed")

    def test_one_request_at_a_time(self) -> None:
        [finding] = check_manager(wired({"reward.reward_manager.name": "rate_limited"}))
        assert finding.level is Level.WARNING
        assert "one sample at a time" in finding.what
        assert finding.fix.startswith("+reward.max_concurrent=32")
        [finding] = check_manager(wired({"reward.reward_manager.name": "rate_limited", "reward.max_concurrent": 64}))
        assert "64 at once in each worker" in finding.what


class TestBatches:
    STEP: Final = {"data.train_batch_size": 64, "actor_rollout_ref.rollout.n": 8}

    def batch(self, values: dict[str, Any], **settings: Any) -> Finding:
        return check_batch(wired(values), Settings.load(use_offload=True, **settings))[-1]

    def test_the_number_of_requests(self) -> None:
        [finding] = check_batch(wired({"reward.num_workers": 4}), Settings.load(max_workers=500))
        assert finding.what == "at most 2,000 requests at once: 4 workers with 500 each"

    def test_the_right_size(self) -> None:
        assert self.batch(self.STEP, batch_size=512).level is Level.OK

    def test_another_size(self) -> None:
        finding = self.batch(self.STEP, batch_size=64)
        assert finding.level is Level.FAILED
        assert "a step has 512 samples (data.train_batch_size 64 x actor_rollout_ref.rollout.n 8)" in finding.what
        assert finding.what.endswith("GENRM_BATCH_SIZE is 64")
        assert finding.fix == "GENRM_BATCH_SIZE=512"

    def test_no_size(self) -> None:
        finding = self.batch({})
        assert (finding.level, finding.fix) == (Level.WARNING, "GENRM_BATCH_SIZE=1024")

    def test_a_step_without_a_fixed_size(self) -> None:
        finding = self.batch({**self.STEP, "algorithm.filter_groups.enable": True}, batch_size=512)
        assert finding.level is Level.WARNING

    def test_what_is_not_known_here(self) -> None:
        finding = self.batch({**self.STEP, "actor_rollout_ref.rollout.n": Unknown("$N")}, batch_size=512)
        assert finding.level is Level.SKIPPED
        assert "actor_rollout_ref.rollout.n=$N" in finding.what


@pytest.mark.parametrize(
    ("values", "offload", "expected"),
    [
        ({}, True, []),
        ({"reward.reward_model.enable": False}, True, []),
        ({"reward.reward_model.enable": True}, True, ["failed"]),
        ({"reward.reward_model.enable": True}, False, ["ok"]),
    ],
)
def test_a_judge_that_verl_serves_itself(values: dict[str, Any], offload: bool, expected: list[str]) -> None:
    assert levels(check_reward_model(wired(values), Settings.load(use_offload=offload))) == expected
