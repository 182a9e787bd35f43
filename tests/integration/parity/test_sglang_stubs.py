"""What the real SGLang imports on a CPU and must not call."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from parity.products import SGLANG


def python(code: str) -> subprocess.CompletedProcess[str]:
    """Run code as the real server's processes are run."""
    environment = {**os.environ, "PYTHONPATH": SGLANG.environment["PYTHONPATH"]}
    return subprocess.run(
        [sys.executable, "-S", "-c", f"import sitecustomize\n{code}"], env=environment, capture_output=True, text=True
    )


@pytest.mark.parametrize(
    "code",
    [
        "import sgl_kernel.flash_attn",
        "from sgl_kernel import silu_and_mul",
        "from torchvision.transforms import InterpolationMode; InterpolationMode.BICUBIC",
        "import torchvision\nclass Own(torchvision.Base): pass",
    ],
)
def test_a_stub_can_be_imported_and_named(code: str) -> None:
    result = python(code)
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("call", ["sgl_kernel.silu_and_mul(1)", "sgl_kernel.Cache.make()"])
def test_a_stub_that_is_called_raises(call: str) -> None:
    result = python(f"import sgl_kernel\n{call}")
    assert "NotImplementedError: sgl_kernel." in result.stderr


def test_nothing_else_is_stubbed() -> None:
    assert "ModuleNotFoundError" in python("import some_other_kernel").stderr
