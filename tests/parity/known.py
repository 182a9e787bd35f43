"""Where the mock may differ from the real server, and why: known_differences.yaml."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

FILE = Path(__file__).with_name("known_differences.yaml")


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one case came out. `reason`: why it may differ, if somebody said so."""

    case: str
    differences: Sequence[str]
    reason: str | None = None

    @property
    def complaint(self) -> str:
        """What is wrong with that, in words for a person; nothing if all is well."""
        if self.differences and self.reason is None:
            return "\n  ".join([f"{self.case}: expected | seen", *self.differences])
        if self.reason is not None and not self.differences:
            return f"{self.case}: no longer differs; remove it from {FILE.name}"
        return ""


def load(product: str) -> dict[str, str]:
    """Reasons by the names of cases."""
    reasons = yaml.safe_load(FILE.read_text(encoding="utf-8")).get(product) or {}
    return {str(case): str(reason) for case, reason in reasons.items()}
