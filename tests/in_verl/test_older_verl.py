"""The examples' keys for verl up to 0.8, held against its own configuration.

Its wheels are fetched and unpacked; nothing of them is installed. Of 0.7.0 the configuration alone can be used: its
code wants an older transformers. 0.8.0's runs with what is installed for 0.9.1.
"""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import OmegaConf
from packaging.version import Version

from genrm.workbench.doctor.launch import Launch
from genrm.workbench.doctor.verl import Verl
from in_verl.scripts import EXAMPLES, PATIENCE, SCRIPTS, keys

VERSIONS = ["0.7.0", "0.8.0"]
OURS = "pkg://genrm.reward_function"
PIP = [*("-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--retries", "1", "--timeout", "20")]
PIP += ["--no-deps", "--only-binary", ":all:"]
CALLED = """
import sys
import verl
from hydra import compose, initialize_config_module
from verl.experimental.reward_loop import migrate_legacy_reward_impl
from verl.trainer.ppo.reward import get_custom_reward_fn

with initialize_config_module("verl.trainer.config", version_base=None):
    config = migrate_legacy_reward_impl(compose("ppo_trainer", overrides=sys.argv[1:]))
called = get_custom_reward_fn(config)
print(verl.__version__, called.func.__name__, called.args[0].__name__, config.reward.num_workers)
"""
"""What verl 0.8's trainer makes of its keys before it begins."""

pytestmark = pytest.mark.long


class OlderVerl:
    """A wheel of verl, unpacked."""

    def __init__(self, version: str, folder: Path) -> None:
        self.version = version
        self.folder = folder

    @property
    def path(self) -> str:
        """A PYTHONPATH on which it goes before the installed one."""
        return os.pathsep.join([str(self.folder), *filter(None, [os.environ.get("PYTHONPATH")])])

    def keys(self, script: str) -> list[str]:
        """What a script gives to it."""
        return keys(script, PYTHONPATH=self.path)

    def configured(self, *words: str) -> Any:
        """Its configuration with these overrides; of its code nothing is imported."""
        with initialize_config_dir(str(self.folder / "verl" / "trainer" / "config"), version_base=None):
            return compose("ppo_trainer", overrides=list(words))


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> OlderVerl:
    """Skips where pip cannot have it."""
    folder = tmp_path_factory.mktemp("older")
    wanted = [f"verl=={request.param}", "--dest", str(folder)]
    pip = subprocess.run([sys.executable, *PIP, *wanted], capture_output=True, text=True, timeout=PATIENCE)
    if pip.returncode:
        why = pip.stderr.strip().splitlines() or [f"exit code {pip.returncode}"]
        pytest.skip(f"pip does not bring verl {request.param} here: {why[-1]}")
    [wheel] = folder.glob("*.whl")
    zipfile.ZipFile(wheel).extractall(folder / "verl")
    return OlderVerl(request.param, folder / "verl")


each = pytest.mark.parametrize("unpacked", VERSIONS, indirect=True)


@each
@pytest.mark.parametrize("script", SCRIPTS)
def test_it_knows_every_key(unpacked: OlderVerl, script: str) -> None:
    words = unpacked.keys(script)
    config = unpacked.configured(*words)
    read = [OverridesParser.create().parse_override(word) for word in words]
    assert {override.key_or_group: OmegaConf.select(config, override.key_or_group) for override in read} == {
        override.key_or_group: override.value() for override in read
    }
    own = script == "run_custom_genrm.sh"
    assert config.custom_reward_function.path == (str(EXAMPLES / "custom_genrm.py") if own else OURS)
    assert config.custom_reward_function.name == "compute_score"
    with pytest.raises(HydraException):  # as it would be told of others
        unpacked.configured(*words, "data.no_such_key=1")


@each
def test_which_names_it_knows(unpacked: OlderVerl) -> None:
    """As the doctor says: both, or the old ones alone."""
    unpacked.configured("custom_reward_function.path=x", "reward_model.num_workers=1")
    if Verl(Version(unpacked.version), "a wheel").obeys(Launch()) == "both":
        assert unpacked.configured("reward.custom_reward_function.path=x").reward.custom_reward_function.path == "x"
    else:
        with pytest.raises(HydraException):
            unpacked.configured("reward.custom_reward_function.path=x")


@pytest.mark.parametrize("unpacked", ["0.8.0"], indirect=True)
@pytest.mark.parametrize(("script", "workers"), [("run_custom_genrm.sh", 8), ("run_external_api.sh", 2)])
def test_it_finds_the_function(unpacked: OlderVerl, script: str, workers: int) -> None:
    command = [sys.executable, "-c", CALLED, *unpacked.keys(script)]
    path = os.pathsep.join([unpacked.path, str(EXAMPLES.parent)])
    variables = {**os.environ, "PYTHONPATH": path, "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(command, env=variables, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == f"0.8.0 _call_with_kwargs_async compute_score {workers}"
