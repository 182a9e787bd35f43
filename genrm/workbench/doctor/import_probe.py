"""Run as a process of its own: import a reward function as verl does, and say what it is, as a line of JSON.

``python -m genrm.workbench.doctor.import_probe PATH NAME``
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import json
import sys
from types import ModuleType
from typing import Any


def main(path: str, name: str) -> dict[str, Any]:
    """What is found: {"error"} or {"found", "is_async", "functions"}."""
    try:
        module = _load(path)
    except BaseException as error:  # a module that ends the process, too
        return {"error": f"{type(error).__name__}: {error}"}
    function = getattr(module, name, None)
    return {
        "found": callable(function),
        "is_async": inspect.iscoroutinefunction(function),
        "functions": [key for key, value in vars(module).items() if _is_own(value, module) and not key.startswith("_")],
    }


def _is_own(value: Any, module: ModuleType) -> bool:
    """Whether a function was made in the module: written there, or a method of what is."""
    return inspect.ismethod(value) or (inspect.isfunction(value) and value.__module__ == module.__name__)


def _load(path: str) -> ModuleType:
    if path.startswith("pkg://"):
        return importlib.import_module(path.removeprefix("pkg://").replace("/", "."))
    spec = importlib.util.spec_from_file_location("custom_module", path.removeprefix("file://"))
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is no Python file")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


if __name__ == "__main__":
    print(json.dumps(main(*sys.argv[1:])), flush=True)
