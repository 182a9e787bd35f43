"""A server's log, shown as it comes: its last lines under a spinner, or, where that is no terminal, line by line."""

from __future__ import annotations

import time
from collections import deque
from pathlib import Path
from types import TracebackType

from rich.console import Console, Group
from rich.live import Live
from rich.spinner import Spinner
from rich.text import Text

_LINES = 8


class LogView:
    """Shows a file that grows, from its present end on. `update` from time to time.

    Args:
        path: the file; need not be there yet.
        title: what is waited for.
        console: where.
    """

    def __init__(self, path: Path, title: str, console: Console) -> None:
        self._path = path
        self._read = path.stat().st_size if path.exists() else 0
        self._rest = b""
        self._last: deque[str] = deque(maxlen=_LINES)
        self._title = title
        self._began = time.monotonic()
        self._console = console
        self._spinner = Spinner("dots")
        self._live = Live(console=console, transient=True) if console.is_terminal else None

    def __enter__(self) -> LogView:
        if self._live:
            self._live.start()
        else:
            self._print(f"{self._title}; its log is {self._path}")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.update()
        if self._live:
            self._live.stop()

    def update(self) -> None:
        """Show what is new."""
        if self._path.exists():
            with self._path.open("rb") as log:
                log.seek(self._read)
                new = log.read()
            self._read += len(new)
            *lines, self._rest = (self._rest + new).split(b"\n")
            for line in lines:
                self._show(Text.from_ansi(line.decode(errors="replace")).plain.rstrip())
        if self._live:
            self._spinner.update(text=Text(f"{self._title}: {time.monotonic() - self._began:.0f} s  ({self._path})"))
            lines_shown = (Text(f"  {line}", style="dim", overflow="ellipsis", no_wrap=True) for line in self._last)
            self._live.update(Group(self._spinner, *lines_shown))

    def _show(self, line: str) -> None:
        self._last.append(line)
        if not self._live:
            self._print(f"  | {line}")

    def _print(self, text: str) -> None:
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)


def last_lines(path: Path, count: int = 15) -> str:
    """The end of a log."""
    if not path.exists():
        return ""
    return "\n".join(path.read_text(encoding="utf-8", errors="replace").splitlines()[-count:])
