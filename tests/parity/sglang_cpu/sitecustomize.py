"""Let the real SGLang start where its kernels do not exist: on a CPU, with torch for CPU.

On PYTHONPATH of the real server only; Python imports it at the start of each of the server's processes. SGLang imports
modules at its start that exist for GPUs only, or only for another torch than the one at hand. Here they are importable,
and whatever they hold raises as soon as it is called: nothing that the server answers can come from a stub.
"""

from __future__ import annotations

import sys
from collections.abc import MutableSequence, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

STUBBED = frozenset(
    {
        "sgl_kernel",
        "torchvision",
    }
)
"""Packages that SGLang imports and that nothing here is installed for."""


class _Stub(type):
    """A class whose attributes are such classes too, so that one can be imported, named as a type, or be a base."""

    def __getattr__(cls, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _Stub(name, (), {"__module__": f"{cls.__module__}.{cls.__name__}"})

    def __call__(cls, *_arguments: Any, **_options: Any) -> Any:
        raise NotImplementedError(f"{cls.__module__}.{cls.__name__} is a stub: there are no such kernels on a CPU")


class _StubModule(ModuleType):
    """A module that has whatever is asked for."""

    __path__: MutableSequence[str] = []  # noqa: RUF012
    __version__ = "0"

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _Stub(name, (), {"__module__": self.__name__})


class _Finder(MetaPathFinder, Loader):
    """Finds the stubbed packages and all that might be in them."""

    def find_spec(
        self, fullname: str, _path: Sequence[str] | None = None, _target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """A module of a stubbed package, or nothing."""
        return ModuleSpec(fullname, self, is_package=True) if fullname.partition(".")[0] in STUBBED else None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """An empty one."""
        return _StubModule(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        """Nothing to do: what is asked of it is made when it is asked for."""


# At the end: a package that is installed is used.
sys.meta_path.append(_Finder())
