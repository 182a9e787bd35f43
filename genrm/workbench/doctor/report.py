"""Findings on a terminal or in a file, as they come; and the deadline of each check."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext

import anyio
from rich.console import Console
from rich.status import Status
from rich.text import Text

from genrm.errors import GenRMError
from genrm.workbench.doctor.findings import Finding, Level, failed

_STYLES = {Level.OK: "green", Level.WARNING: "yellow", Level.FAILED: "bold red", Level.SKIPPED: "dim"}
_INDENT = 10
"""Columns before the text of a finding: the level stands there."""


class Report:
    """Prints findings and keeps them.

    Args:
        console: where to. Only a terminal gets colours, broken lines and a spinner.

    Attributes:
        findings: so far.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self.findings: list[Finding] = []

    def section(self, title: str) -> None:
        """What the next findings are about."""
        self._console.print(Text(f"\n{title}" if self.findings else title, style="bold"), soft_wrap=True)

    def add(self, *findings: Finding) -> bool:
        """Print findings. Returns whether none of them has failed."""
        for finding in findings:
            self.findings.append(finding)
            for line in self._lines(finding):
                self._console.print(line, soft_wrap=True)
        return not any(finding.level is Level.FAILED for finding in findings)

    async def check(self, what: str, seconds: float, looking: Awaitable[Iterable[Finding]]) -> bool:
        """Make a check and print its findings. Returns whether none of them has failed.

        Args:
            what: what is waited for, such as "the version of http://judge:30000".
            seconds: until the check is given up, as failed.
            looking: gives the findings; a GenRMError of it is a finding, too.
        """
        findings: Iterable[Finding] = [
            failed(f"{what}: nothing within {seconds:g} s", "is the server overloaded, hanging or asleep?")
        ]
        with self._spinner(f"{what} (at most {seconds:g} s)"), anyio.move_on_after(seconds):
            try:
                findings = list(await looking)
            except GenRMError as error:
                wrong, _, fix = str(error).partition(". ")
                findings = [failed(wrong, fix)]
        return self.add(*findings)

    def close(self) -> None:
        """Print how many findings of each level there were."""
        counts = Counter(finding.level for finding in self.findings)
        self.section(", ".join(f"{counts[level]} {level.value}" for level in Level if counts[level]))

    @property
    def exit_code(self) -> int:
        """1 where something has failed, else 0."""
        return 1 if any(finding.level is Level.FAILED for finding in self.findings) else 0

    def _spinner(self, what: str) -> AbstractContextManager[object]:
        return Status(Text(what), console=self._console) if self._console.is_terminal else nullcontext()

    def _lines(self, finding: Finding) -> Iterator[Text]:
        """A finding in lines of the terminal's width; in a file, what and fix are a line each."""
        head = Text.assemble((f"{finding.level.value:<8}", _STYLES[finding.level]), "  ")
        what = Text(finding.what, style="dim" if finding.level is Level.SKIPPED else "")
        yield from self._wrapped(head, what)
        if finding.fix:
            yield from self._wrapped(Text(" " * _INDENT), Text.assemble(("fix: ", "bold"), finding.fix))

    def _wrapped(self, head: Text, text: Text) -> Iterator[Text]:
        parts: Iterable[Text] = text.split(allow_blank=True)
        if self._console.is_terminal:
            width = max(20, self._console.width - _INDENT)
            parts = (line for part in parts for line in part.wrap(self._console, width))
        for part in parts:
            part.rstrip()
            yield head + part
            head = Text(" " * _INDENT)
