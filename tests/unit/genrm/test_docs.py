"""The documents say what the code does."""

from __future__ import annotations

from pathlib import Path

import pytest

from genrm import Reason, Settings

DOCS = Path(__file__, "../../../../docs").resolve()


@pytest.mark.parametrize("name", Settings.model_fields)
def test_every_setting_is_documented(name: str) -> None:
    field = Settings.model_fields[name]
    [row] = [
        row for row in (DOCS / "settings.md").read_text().splitlines() if row.startswith(f"| `GENRM_{name.upper()}`")
    ]
    assert field.description is not None
    assert field.description in row
    default = getattr(Settings.load(), name)
    if isinstance(default, bool):
        assert f"`{str(default).lower()}`" in row
    elif isinstance(default, (int, float)):
        assert f"`{default:g}`" in row


@pytest.mark.parametrize("reason", list(Reason))
def test_every_reason_is_documented(reason: Reason) -> None:
    assert f"\n| `{reason}` | {reason.number} |" in (DOCS / "verdicts.md").read_text()


def test_every_example_is_listed() -> None:
    examples = DOCS.parent / "examples"
    listed = (examples / "README.md").read_text().partition("```")[0]
    scripts = [*examples.glob("run_*.sh"), *examples.glob("*.py")]
    assert [path.name for path in scripts if f"]({path.name})" not in listed] == []
