"""How findings look on a terminal and in a file, and what a check's deadline is worth."""

from __future__ import annotations

import io
import re
from collections.abc import Iterable

import anyio
import pytest
from rich.console import Console

from genrm.errors import JudgeUnreachable, OffloadRefused
from genrm.workbench.doctor.findings import Finding, Level, failed, ok, skipped, warning
from genrm.workbench.doctor.report import Report

LONG = failed("it is wrong " + "and wrong " * 20 + "throughout", "mend it " + "well and " * 20 + "at once")


def printed(*findings: Finding, width: int | None = None) -> str:
    """What comes out: on a terminal of that width, else in a file."""
    file = io.StringIO()
    terminal = width is not None
    report = Report(
        Console(file=file, force_terminal=terminal, width=width or 80, color_system="standard" if terminal else None)
    )
    report.section("the section")
    report.add(*findings)
    report.close()
    return file.getvalue()


def test_in_a_file_a_finding_is_a_line_and_its_fix_another() -> None:
    assert printed(ok("all is well"), LONG, skipped("not looked at")).splitlines() == [
        "the section",
        "ok        all is well",
        f"failed    {LONG.what}",
        f"          fix: {LONG.fix}",
        "skipped   not looked at",
        "",
        "1 ok, 1 failed, 1 skipped",
    ]


@pytest.mark.parametrize("width", [40, 80, 120])
def test_a_terminal_gets_colours_and_broken_lines(width: int) -> None:
    text = printed(LONG, warning("hm", "look"), width=width)
    assert "\x1b[1;31mfailed" in text
    assert "\x1b[33mwarning" in text
    plain = re.sub(r"\x1b\[[0-9;]*m", "", text).splitlines()
    assert max(map(len, plain)) <= width
    assert all(line == line.rstrip() for line in plain)
    words = " ".join(line[10:] for line in plain if line and line not in ("the section", plain[-1]))
    assert words == f"{LONG.what} fix: {LONG.fix} hm fix: look"


def test_brackets_are_no_markup() -> None:
    assert "no [/room] for [bold]you" in printed(failed("no [/room] for [bold]you", "[red]"))


async def check(report: Report, findings: Iterable[Finding] = (), error: Exception | None = None) -> bool:
    async def looking() -> Iterable[Finding]:
        if error:
            raise error
        return findings

    return await report.check("the check", 60, looking())


@pytest.fixture
def report() -> Report:
    return Report(Console(file=io.StringIO()))


async def test_the_exit_code(report: Report) -> None:
    assert await check(report, [ok("a"), warning("b", "c"), skipped("d")])
    assert report.exit_code == 0
    assert not await check(report, [failed("e", "f"), ok("g")])
    assert report.exit_code == 1
    assert [finding.level for finding in report.findings].count(Level.OK) == 2


async def test_an_error_is_a_finding(report: Report) -> None:
    assert not await check(report, error=OffloadRefused("http://judge has no dev mode. Start it with one"))
    assert not await check(report, error=JudgeUnreachable("http://judge", "gone"))
    assert report.findings == [
        failed("http://judge has no dev mode", "Start it with one"),
        failed("http://judge: gone", ""),
    ]


async def test_nothing_hangs(report: Report) -> None:
    async def hang() -> Iterable[Finding]:
        await anyio.sleep_forever()
        return ()

    assert not await report.check("the answer", 0.01, hang())
    assert report.findings[0].what == "the answer: nothing within 0.01 s"


async def test_a_terminal_is_told_what_is_waited_for() -> None:
    file = io.StringIO()
    report = Report(Console(file=file, force_terminal=True, width=80))

    async def wait_until_said() -> Iterable[Finding]:
        while "the answer (at most 60 s)" not in file.getvalue():
            await anyio.sleep(0.01)
        return [ok("said")]

    assert await report.check("the answer", 60, wait_until_said())
