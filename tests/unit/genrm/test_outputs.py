"""The file of what was judged: each sample once, whatever kills the run, and no foreign file is harmed."""

from __future__ import annotations

import contextlib
import json
import math
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import genrm
from genrm import Judgement, JudgeTimeout, Reason, Sample, Verdict
from genrm.rewards import Record
from genrm.workbench.inputs import Row
from genrm.workbench.outputs import Line, Output, OutputError

RIGHT = Judgement(Verdict(True, Reason.OK), attempts=1, latency=0.25, tokens=70, reply="Fine. \\boxed{True}")


def row(name: str = "a", solution: str = "4", label: bool | None = None) -> Row:
    return Row(name, Sample(solution, extra_info={"question": "What is 2 + 2?"}), label)


def record(score: float = 1.0, fallback: int = 0) -> Record:
    return {"score": score, "genrm_fallback": fallback}


def lines_of(path: Path) -> list[Line]:
    return [json.loads(line) for line in path.read_text(encoding="ascii").splitlines()]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "judged.jsonl"


class TestLines:
    def test_a_line_says_all(self, path: Path) -> None:
        with Output(path) as output:
            line = output.append(row("a", label=False), RIGHT, record())
        assert lines_of(path) == [line]
        assert {**line, "digest": ""} == {
            "id": "a",
            "digest": "",
            "label": False,
            "verdict": True,
            "reason": "ok",
            "score": 1.0,
            "fallback": False,
            "attempts": 1,
            "latency": 0.25,
            "tokens": 70,
            "failure": None,
            "reply": "Fine. \\boxed{True}",
        }

    def test_no_verdict_and_no_score(self, path: Path) -> None:
        failure = JudgeTimeout("http://judge:1", "no reply", attempt=2)
        judgement = Judgement(Verdict(None, Reason.TIMEOUT), attempts=2, failure=failure)
        with Output(path) as output:
            output.append(row(), judgement, record(math.nan, 1))
        assert b"NaN" not in path.read_bytes()
        [line] = lines_of(path)
        assert (line["verdict"], line["reason"], line["score"], line["fallback"]) == (None, "timeout", None, True)
        assert line["failure"] == "http://judge:1 (attempt 2): no reply"

    def test_whatever_the_judge_writes_is_one_line_of_ascii(self, path: Path) -> None:
        reply = "lone \ud800 surrogate\nand\r\x0b\u2028\u0085 what ends lines"
        with Output(path) as output:
            output.append(row(), Judgement(Verdict(True, Reason.OK), reply=reply), record())
        assert path.read_bytes().count(b"\n") == 1
        assert path.read_bytes().isascii()
        with Output(path) as output:
            assert [line["reply"] for line in output.lines] == [reply]


class TestReopening:
    def test_what_was_judged_is_there_again(self, path: Path) -> None:
        with Output(path) as output:
            assert output.lines == []
            first = output.append(row("a"), RIGHT, record())
        with Output(path) as output:
            assert output.lines == [first]
            assert output.has(row("a"))
            assert not output.has(row("b"))
            second = output.append(row("b"), RIGHT, record())
            assert output.has(row("b"))
        assert lines_of(path) == [first, second]

    def test_another_sample_under_the_same_id_is_refused(self, path: Path) -> None:
        with Output(path) as output:
            output.append(row("a", "4"), RIGHT, record())
            with pytest.raises(OutputError, match="holds another sample under the id 'a'"):
                output.has(row("a", "5"))
        other = Row("a", Sample("4", extra_info={"question": "What is 1 + 3?"}), None)
        with Output(path) as output, pytest.raises(OutputError, match="give a new --out"):
            output.has(other)

    def test_label_and_answer_are_no_part_of_a_sample(self, path: Path) -> None:
        with Output(path) as output:
            output.append(row("a", label=None), RIGHT, record())
            same = Row("a", Sample("4", ground_truth="4", extra_info={"question": "What is 2 + 2?"}), True, "line 9")
            assert output.has(same)

    def test_an_empty_file_will_do(self, path: Path) -> None:
        path.touch()
        with Output(path) as output:
            output.append(row(), RIGHT, record())
        assert len(lines_of(path)) == 1

    def test_a_folder_that_is_missing_is_made(self, tmp_path: Path) -> None:
        with Output(tmp_path / "new" / "judged.jsonl") as output:
            output.append(row(), RIGHT, record())
        assert len(lines_of(tmp_path / "new" / "judged.jsonl")) == 1


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("outputs")


TEXT = st.text(st.characters(exclude_categories=[]), max_size=8)
NAMES = st.lists(st.one_of(TEXT, st.sampled_from(['"', "\\", '\\", "digest": "', "\n", ""])), max_size=4, unique=True)


@given(names=NAMES, reply=TEXT, data=st.data())
def test_cut_at_any_byte_whole_lines_stay_and_a_second_run_completes(
    folder: Path, names: list[str], reply: str, data: st.DataObject
) -> None:
    path = folder / "judged.jsonl"
    path.unlink(missing_ok=True)
    rows = [row(name) for name in names]
    judgement = Judgement(Verdict(True, Reason.OK), reply=reply)
    with Output(path) as output:
        for each in rows:
            output.append(each, judgement, record())
    whole = path.read_bytes()
    cut = data.draw(st.integers(0, len(whole)))
    path.write_bytes(whole[:cut])

    with Output(path) as output:
        assert len(output.lines) == whole[:cut].count(b"\n")
        for each in rows:
            if not output.has(each):
                output.append(each, judgement, record())
    assert path.read_bytes() == whole


def test_half_a_line_is_cut_off_at_once(path: Path) -> None:
    with Output(path) as output:
        output.append(row("a"), RIGHT, record())
        output.append(row("b"), RIGHT, record())
    data = path.read_bytes()
    path.write_bytes(data[:-10])
    with Output(path):
        assert path.read_bytes() == data[: data.index(b"\n") + 1]


def test_what_a_power_cut_left_behind_our_lines_is_cut_off(path: Path) -> None:
    with Output(path) as output:
        output.append(row(), RIGHT, record())
    data = path.read_bytes()
    path.write_bytes(data + b"\x00" * 20)
    with Output(path) as output:
        assert len(output.lines) == 1
    assert path.read_bytes() == data


FOREIGN = [
    b"my notes\n",
    b"my notes without a last line feed",
    b'{"id": "a", "problem": "2 + 2", "solution": "4"}\n',
    b'{"id": "a", "problem": "2 + 2", "solution": "4"}',
    b'{"id": 1, "problem": "2 + 2", "solution": "4"}',
    b'{"id": "a", "digest": "0"}\n',
    b'{"problem": "2 + 2"',
    b'["id", "digest"]\n',
    b'"id digest"\n',
    b"null\n",
    b"\n",
    b"\x00\xff\n",
    b"\x00\x00",
    b"[" * 100_000 + b"\n",
]


@pytest.mark.parametrize("data", FOREIGN)
def test_a_foreign_file_is_refused_and_not_touched(path: Path, data: bytes) -> None:
    path.write_bytes(data)
    with pytest.raises(OutputError, match=r"judged\.jsonl, line 1, was not written by genrm score"), Output(path):
        pass
    assert path.read_bytes() == data


def test_a_foreign_line_among_ours_is_refused_by_number(path: Path) -> None:
    with Output(path) as output:
        output.append(row(), RIGHT, record())
    data = path.read_bytes() + b"foreign\nhalf a li"
    path.write_bytes(data)
    with pytest.raises(OutputError, match="line 2, was not written"), Output(path):
        pass
    assert path.read_bytes() == data


def test_a_line_whose_id_is_no_text_is_foreign(path: Path) -> None:
    with Output(path) as output:
        line: dict[str, Any] = {**output.append(row(), RIGHT, record()), "id": ["a"]}
    path.write_text(json.dumps(line) + "\n")
    with pytest.raises(OutputError, match="line 1, was not written"), Output(path):
        pass


BEGINNING = b'{"id": "'


@given(st.binary(min_size=1).filter(lambda data: not data.startswith(BEGINNING) and not BEGINNING.startswith(data)))
@example(b"{}")
@example(b'{"id":1}')
def test_any_file_that_does_not_begin_like_ours_is_left_alone(folder: Path, data: bytes) -> None:
    path = folder / "foreign.jsonl"
    path.write_bytes(data)
    with pytest.raises(OutputError), Output(path):
        pass
    assert path.read_bytes() == data


class TestLock:
    def test_a_second_process_is_refused_until_the_first_is_gone(self, path: Path) -> None:
        program = (
            "import sys; from pathlib import Path; from genrm.workbench.outputs import Output\n"
            "with Output(Path(sys.argv[1])): print('held', flush=True); sys.stdin.read()"
        )
        other = subprocess.Popen(
            [sys.executable, "-c", program, str(path)],
            cwd=Path(genrm.__file__).parents[1],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        with other:
            assert other.stdout is not None
            assert other.stdout.readline() == b"held\n"
            with pytest.raises(OutputError, match="is being written by another process"), Output(path):
                pass
            other.kill()  # the system takes a dead process's locks away
            other.wait()
            with Output(path) as output:
                output.append(row(), RIGHT, record())

    @pytest.mark.parametrize("data", [b"foreign\n", b""])
    def test_it_is_given_back_whatever_happens(self, path: Path, data: bytes) -> None:
        path.write_bytes(data)
        first = Output(path)
        with contextlib.suppress(OutputError, ZeroDivisionError), first:
            raise ZeroDivisionError
        path.unlink()
        with Output(path):
            pass


class TestTheDiskSaysNo:
    def test_the_folder_is_a_file(self, path: Path) -> None:
        path.touch()
        with (
            pytest.raises(OutputError, match=r"judged\.jsonl/out\.jsonl cannot be written"),
            Output(path / "out.jsonl"),
        ):
            pass

    def test_the_file_is_a_folder(self, path: Path) -> None:
        path.mkdir()
        with pytest.raises(OutputError, match=r"judged\.jsonl cannot be written: Is a directory"), Output(path):
            pass

    def test_the_lock_is_a_folder(self, path: Path) -> None:
        path.with_name("judged.jsonl.lock").mkdir()
        with pytest.raises(OutputError, match=r"judged\.jsonl cannot be written: Is a directory"), Output(path):
            pass

    def test_a_line_that_no_longer_fits_is_not_written_in_part(self, path: Path) -> None:
        with Output(path) as output:
            first = output.append(row("a"), RIGHT, record())
            with (
                _largest_file(path.stat().st_size + 10),
                pytest.raises(OutputError, match="cannot be written: File too"),
            ):
                output.append(row("b"), RIGHT, record())
            assert lines_of(path) == [first]
            # There is room again.
            assert not output.has(row("b"))
            second = output.append(row("b"), RIGHT, record())
        assert lines_of(path) == [first, second]


@contextlib.contextmanager
def _largest_file(size: int) -> Iterator[None]:
    """While this holds, the system writes what fits into `size` bytes of a file and refuses the rest."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
