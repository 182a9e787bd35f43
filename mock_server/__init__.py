"""A GenRM that answers by script: a deterministic mock of the vLLM server that judges.

    from mock_server import MockServer

    with MockServer() as server:
        ...  # requests to server.base_url + "/v1/chat/completions"

From a shell: `genrm-mock`. In tests: the pytest fixtures `mock_server` and `mock_server_factory`.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mock_server.config import ServerConfig
    from mock_server.judge.answers import Answer, Judge
    from mock_server.scenario.files import ScenarioError, load_scenario
    from mock_server.scenario.script import Scenario
    from mock_server.server import MockServer

__all__ = ["Answer", "Judge", "MockServer", "Scenario", "ScenarioError", "ServerConfig", "load_scenario"]

_HOME = {
    "Answer": "judge.answers",
    "Judge": "judge.answers",
    "MockServer": "server",
    "Scenario": "scenario.script",
    "ScenarioError": "scenario.files",
    "ServerConfig": "config",
    "load_scenario": "scenario.files",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used: pytest loads this package for its plugin in every run."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"mock_server.{_HOME[name]}"), name)
