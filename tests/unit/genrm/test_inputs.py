r"""Files of solutions -> rows: three formats, and whatever else may stand in such a file."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from genrm.workbench.inputs import BadRow, Columns, Format, InputError, Row, read_rows

GOOD = {"problem": "What is 2 + 2?", "solution": r"\boxed{4}"}
PROMPT = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "What is 2 + 2?"}]
# The shape of example_model_solutions.jsonl (github.com/openai/grade-school-math); the data are our own.
LINE: dict[str, Any] = {
    "question": "Ann has 3 bags of 4 nuts. How many nuts?",
    "ground_truth": "Q: Ann has 3 bags of 4 nuts. How many nuts?\nA: 3 * 4 = <<3*4=12>>12\n#### 12",
    "6b_finetuning": {"solution": "3 + 4 = 7\n#### 7", "is_correct": False},
    "6b_verification": {"solution": "3 * 4 = 12\n#### 12", "is_correct": True},
    "175b_finetuning": {"solution": "12", "is_correct": False},
    "175b_verification": {"solution": "3 * 4 = 12\n#### 12", "is_correct": True},
}
Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write a file of lines: bytes and text as they are, all else as JSON."""

    def write(*lines: Any, name: str = "solutions.jsonl", end: bytes = b"\n") -> Path:
        path = tmp_path / name
        path.write_bytes(b"".join(_bytes(line) + end for line in lines))
        return path

    return write


def _bytes(line: Any) -> bytes:
    if isinstance(line, bytes):
        return line
    return (line if isinstance(line, str) else json.dumps(line)).encode()


def only(rows: Iterator[Row | BadRow]) -> Row:
    [row] = rows
    assert isinstance(row, Row), row
    return row


def only_bad(rows: Iterator[Row | BadRow]) -> BadRow:
    [row] = rows
    assert isinstance(row, BadRow), row
    return row


def ids(rows: Iterator[Row | BadRow]) -> list[str]:
    return [row.id if isinstance(row, Row) else f"bad {row.where}" for row in rows]


class TestJsonl:
    def test_a_line_is_a_row(self, write: Write) -> None:
        row = only(read_rows(write({**GOOD, "answer": 4, "label": True, "id": "a1"})))
        assert (row.id, row.label, row.where) == ("a1", True, "line 1")
        assert (row.sample.problem, row.sample.solution, row.sample.reference) == (*GOOD.values(), "4")

    def test_label_answer_and_id_may_be_missing(self, write: Write) -> None:
        row = only(read_rows(write(GOOD)))
        assert (row.id, row.label, row.sample.reference) == ("1", None, "")

    def test_a_null_id_is_no_id(self, write: Write) -> None:
        assert ids(read_rows(write({**GOOD, "id": None}, {**GOOD, "id": None}))) == ["1", "2"]

    def test_columns_may_have_other_names(self, write: Write) -> None:
        line = {"q": "What is 2 + 2?", "out": "4", "ok": 0, "gold": "4", "uid": 7}
        row = only(read_rows(write(line), columns=Columns("q", "out", "ok", "gold", "uid")))
        assert (row.id, row.label) == ("7", False)
        assert (row.sample.problem, row.sample.solution, row.sample.reference) == ("What is 2 + 2?", "4", "4")

    @pytest.mark.parametrize(
        ("line", "why"),
        [
            ({"solution": "4"}, "no text in 'problem'; there are 'solution'"),
            ({"problem": "2 + 2"}, "no text in 'solution'; there are 'problem'"),
            ({"problem": "2 + 2", "solution": None}, "no text in 'solution'"),
            ({"problem": ["2 + 2"], "solution": "4"}, "no text in 'problem'"),
            ({"problem": " \n", "solution": "4"}, "'problem' is blank"),
            ({}, "there are no keys"),
            ("no json", "no JSON: Expecting value at column 1"),
            ('{"problem": "2 + 2"', "no JSON"),
            ('["problem", "solution"]', "no JSON object, but list"),
            ("null", "no JSON object, but NoneType"),
            ('"problem"', "no JSON object, but str"),
            (b'{"problem": "\xff", "solution": "4"}', "not UTF-8"),
            ("[" * 100_000, "nested too deeply"),
            ('{"n": ' + "9" * 5_000 + "}", "digits"),
            ({**GOOD, "label": "maybe"}, "the label must be true or false, but is 'maybe'"),
            ({**GOOD, "label": 2}, "the label must be true or false, but is 2"),
            ({**GOOD, "label": ""}, "the label must be true or false"),
        ],
    )
    def test_a_bad_line_is_named_and_the_rest_goes_on(self, write: Write, line: Any, why: str) -> None:
        first, bad, last = read_rows(write(GOOD, line, GOOD))
        assert isinstance(bad, BadRow)
        assert bad.where == "line 2"
        assert why in bad.why
        assert isinstance(first, Row)
        assert isinstance(last, Row)
        assert (first.id, last.id) == ("1", "3")

    def test_an_answer_that_is_nested_too_deeply_is_found_here_and_not_while_judging(self, write: Write) -> None:
        # The parser's own limit is higher than that of the code that makes text of it.
        line = json.dumps({**GOOD, "answer": 0}).replace("0", "[" * 900 + "]" * 900)
        assert only_bad(read_rows(write(line))) == BadRow("line 1", "nested too deeply")

    @pytest.mark.parametrize(
        ("label", "read"),
        [
            (True, True),
            (False, False),
            (1, True),
            (0, False),
            (1.0, True),
            ("True", True),
            (" false ", False),
            ("1", True),
            ("0.0", False),
            (None, None),
        ],
    )
    def test_forms_of_a_label(self, write: Write, label: Any, read: bool | None) -> None:
        assert only(read_rows(write({**GOOD, "label": label}))).label is read

    @pytest.mark.parametrize("solution", ["", " \n\t"])
    def test_an_empty_solution_is_a_row(self, write: Write, solution: str) -> None:
        assert only(read_rows(write({**GOOD, "solution": solution}))).sample.is_empty

    def test_blank_lines_are_left_out_and_counted(self, write: Write) -> None:
        assert ids(read_rows(write(GOOD, "", "  ", GOOD, "x"))) == ["1", "4", "bad line 5"]

    def test_crlf_and_a_last_line_without_an_end(self, write: Write) -> None:
        path = write(GOOD, "", "x", end=b"\r\n")
        path.write_bytes(path.read_bytes() + _bytes(GOOD))
        assert ids(read_rows(path)) == ["1", "bad line 3", "4"]

    def test_only_a_line_feed_ends_a_line(self, write: Write) -> None:
        rows = read_rows(
            write(json.dumps({**GOOD, "solution": "a\u2028b\u0085c"}, ensure_ascii=False), "a\x0bb\rc", GOOD)
        )
        assert ids(rows) == ["1", "bad line 2", "3"]

    def test_a_byte_order_mark_is_no_part_of_the_first_line(self, write: Write) -> None:
        assert ids(read_rows(write(b"\xef\xbb\xbf" + _bytes(GOOD)))) == ["1"]

    def test_a_lone_surrogate_may_come_as_an_escape(self, write: Write) -> None:
        assert only(read_rows(write(r'{"problem": "2 + 2", "solution": "\ud800"}'))).sample.solution == "\ud800"

    def test_the_second_of_an_id_is_bad_and_says_where_it_stands(self, write: Write) -> None:
        first, second = read_rows(write({**GOOD, "id": "a"}, {**GOOD, "id": "a", "problem": "Another?"}))
        assert isinstance(first, Row)
        assert second == BadRow("line 2", "the id 'a' was there before")

    def test_an_id_that_is_another_lines_number_is_not_taken_for_it(self, write: Write) -> None:
        assert ids(read_rows(write({**GOOD, "id": 2}, GOOD, GOOD))) == ["2", "bad line 2", "3"]

    def test_names_in_the_file_cannot_write_on_the_terminal(self, write: Write) -> None:
        bad = only_bad(read_rows(write({"\x1b[2J\ud800": "4"})))
        assert bad.why.isascii()
        assert bad.why.isprintable()

    def test_an_empty_file_has_no_rows(self, write: Write) -> None:
        assert list(read_rows(write())) == []

    def test_ids_are_the_same_each_time(self, write: Write) -> None:
        path = write(GOOD, "x", {**GOOD, "id": "a"}, "", GOOD)
        assert ids(read_rows(path)) == ids(read_rows(path)) == ["1", "bad line 2", "a", "5"]


class TestFiles:
    def test_a_missing_file(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match=r"nowhere\.jsonl cannot be read: No such file"):
            list(read_rows(tmp_path / "nowhere.jsonl"))

    def test_a_folder(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="cannot be read"):
            list(read_rows(tmp_path))

    def test_rows_come_one_at_a_time(self, tmp_path: Path, write: Write) -> None:
        rows = read_rows(write(*[GOOD] * 3))
        assert isinstance(next(rows), Row)
        assert len(list(rows)) == 2


def _expected_numbers(data: bytes) -> list[int]:
    """The numbers of the lines that are not blank, found in another way than the reader's."""
    data = data.removeprefix(b"\xef\xbb\xbf")
    lines = data.decode("utf-8", "surrogateescape").split("\n")
    return [number for number, line in enumerate(lines, 1) if line and not line.isspace()]


FRAGMENTS = [
    b"\n",
    b"\r\n",
    b"\r",
    b" ",
    b"\xef\xbb\xbf",
    b"\xff",
    b"\x00",
    b"{}",
    b"[]",
    b"{",
    b"}",
    b'"',
    b"\\",
    b":",
    b",",
    b"null",
    b"NaN",
    b"1e999",
    b"[" * 3_000,
    b'{"a":' * 500,
    b'"\\ud800"',
    b'"question"',
    b'"problem"',
    b'"solution"',
    b'"id"',
    b'"label"',
    b'{"problem": "p", "solution": "s"}',
    b'{"question": "p", "m": {"solution": "s", "is_correct": true}}',
]
LINES = st.one_of(st.sampled_from(FRAGMENTS), st.binary(max_size=12))
ANY_FILE = st.lists(LINES, max_size=30).map(b"".join)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(exclude_categories=[]), max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)
KEYS = ("problem", "solution", "label", "answer", "id", "question", "ground_truth", "model")
OBJECTS = st.dictionaries(
    st.sampled_from(KEYS), JSON | st.fixed_dictionaries({}, optional={"solution": JSON, "is_correct": JSON})
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("inputs")


@given(data=ANY_FILE)
@example(data=b"\xef\xbb")
def test_any_bytes_are_rows_and_bad_rows_with_the_right_numbers(folder: Path, data: bytes) -> None:
    path = folder / "any.jsonl"
    path.write_bytes(data)
    rows = list(read_rows(path))
    assert [int(row.where.removeprefix("line ")) for row in rows] == _expected_numbers(data)
    names = [row.id for row in rows if isinstance(row, Row)]
    assert len(set(names)) == len(names)
    assert list(read_rows(path)) == rows


@given(data=ANY_FILE)
def test_any_bytes_are_rows_and_bad_rows_in_the_other_shape(folder: Path, data: bytes) -> None:
    path = folder / "any_gsm8k.jsonl"
    path.write_bytes(data)
    rows = list(read_rows(path, Format.GSM8K_SOLUTIONS))
    numbers = [int(row.where.removeprefix("line ").partition(",")[0]) for row in rows]
    assert sorted(set(numbers)) == _expected_numbers(data)


@given(objects=st.lists(OBJECTS, max_size=4), form=st.sampled_from([Format.JSONL, Format.GSM8K_SOLUTIONS]))
def test_any_objects_are_rows_and_bad_rows(folder: Path, objects: list[Any], form: Format) -> None:
    path = folder / "objects.jsonl"
    path.write_text("".join(json.dumps(data) + "\n" for data in objects))
    for row in read_rows(path, form):
        assert row.where.startswith("line ")
        if isinstance(row, Row):
            assert row.sample.problem.strip()
            assert isinstance(row.sample.solution, str)
            assert isinstance(row.sample.reference, str)
        else:
            assert row.why


class TestGsm8kSolutions:
    def test_a_line_holds_a_row_for_each_model(self, write: Write) -> None:
        rows = [row for row in read_rows(write(LINE, LINE), Format.GSM8K_SOLUTIONS) if isinstance(row, Row)]
        models = ["6b_finetuning", "6b_verification", "175b_finetuning", "175b_verification"]
        assert [row.id for row in rows] == [f"{line}/{model}" for line in (1, 2) for model in models]
        assert [row.label for row in rows] == [False, True, False, True] * 2
        assert {row.sample.problem for row in rows} == {LINE["question"]}
        assert {row.sample.reference for row in rows} == {"3 * 4 = <<3*4=12>>12\n#### 12"}
        assert rows[0].sample.solution == "3 + 4 = 7\n#### 7"
        assert rows[0].sample.data_source == "gsm8k"

    @pytest.mark.parametrize(
        ("model", "why"),
        [
            ({"is_correct": True}, "no text in 'solution'; there are 'is_correct'"),
            ({"solution": None, "is_correct": True}, "no text in 'solution'"),
            ({"solution": "12", "is_correct": "perhaps"}, "the label must be true or false"),
        ],
    )
    def test_one_bad_model_leaves_the_others(self, write: Write, model: Any, why: str) -> None:
        rows = list(read_rows(write({**LINE, "6b_verification": model}), Format.GSM8K_SOLUTIONS))
        bad = rows.pop(1)
        assert isinstance(bad, BadRow)
        assert bad.where == "line 1, '6b_verification'"
        assert why in bad.why
        assert [row.id for row in rows if isinstance(row, Row)] == [
            "1/6b_finetuning",
            "1/175b_finetuning",
            "1/175b_verification",
        ]

    def test_a_line_without_models_or_question(self, write: Write) -> None:
        no_question = {"m": {"solution": "12"}}
        first, second, third = read_rows(write(GOOD, no_question, "x"), Format.GSM8K_SOLUTIONS)
        assert first == BadRow("line 1", "no model's solution; there are 'problem', 'solution'")
        assert second == BadRow("line 2, 'm'", "no text in 'question'; there are 'm'")
        assert isinstance(third, BadRow)
        assert third.where == "line 3"

    def test_the_ground_truth_may_be_missing(self, write: Write) -> None:
        line = {key: value for key, value in LINE.items() if key != "ground_truth"}
        for row in read_rows(write(line), Format.GSM8K_SOLUTIONS):
            assert isinstance(row, Row)
            assert row.sample.reference == ""


class TestVerl:
    @pytest.fixture
    def parquet(self, tmp_path: Path) -> Callable[[list[dict[str, Any]]], Path]:
        def write(rows: list[dict[str, Any]]) -> Path:
            path = tmp_path / "rollouts.parquet"
            pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)
            return path

        return write

    def test_a_row_holds_a_sample_for_each_response(self, parquet: Callable[..., Path]) -> None:
        data = {
            "data_source": "openai/gsm8k",
            "prompt": PROMPT,
            "reward_model": {"style": "rule", "ground_truth": "4"},
            "extra_info": {"split": "train", "index": 0},
            "responses": ["#### 4", "#### 5"],
        }
        rows = [row for row in read_rows(parquet([data, data])) if isinstance(row, Row)]
        assert [row.id for row in rows] == ["1/0", "1/1", "2/0", "2/1"]
        assert [row.where for row in rows[:2]] == ["row 1, response 0", "row 1, response 1"]
        assert [row.sample.solution for row in rows] == ["#### 4", "#### 5"] * 2
        assert {row.label for row in rows} == {None}
        sample = rows[0].sample
        assert (sample.problem, sample.reference, sample.data_source) == ("What is 2 + 2?", "4", "openai/gsm8k")

    def test_the_question_of_extra_info_goes_before_the_prompt(self, parquet: Callable[..., Path]) -> None:
        data = {"prompt": PROMPT, "extra_info": {"question": "2 + 2, please"}, "responses": ["4"]}
        assert only(read_rows(parquet([data]))).sample.problem == "2 + 2, please"

    def test_a_column_of_problems_goes_before_all(self, parquet: Callable[..., Path]) -> None:
        data = {"prompt": PROMPT, "q": "2 + 2!", "responses": ["4"], "gold": "4", "extra_info": {"question": "?"}}
        row = only(read_rows(parquet([data]), columns=Columns(problem="q", answer="gold")))
        assert (row.sample.problem, row.sample.reference) == ("2 + 2!", "4")

    @pytest.mark.parametrize("column", ["responses", "solution", "response"])
    def test_a_response_may_be_a_text(self, parquet: Callable[..., Path], column: str) -> None:
        row = only(read_rows(parquet([{"prompt": PROMPT, column: "4", "label": True}])))
        assert (row.id, row.label, row.sample.solution) == ("1/0", True, "4")

    def test_labels_go_with_the_responses(self, parquet: Callable[..., Path]) -> None:
        rows = read_rows(parquet([{"prompt": PROMPT, "responses": ["4", "5"], "label": [True, False]}]))
        assert [row.label for row in rows if isinstance(row, Row)] == [True, False]

    @pytest.mark.parametrize(
        ("data", "where", "why"),
        [
            ({"other": "4"}, "row 1", "no text in 'responses' or 'solution'; there are 'prompt', 'other'"),
            ({"responses": []}, "row 1", "no text in 'responses'"),
            ({"responses": 4}, "row 1", "no text in 'responses'"),
            ({"responses": [4]}, "row 1, response 0", "solution_str must be a str, but is int"),
            ({"responses": [None]}, "row 1, response 0", "solution_str must be a str, but is NoneType"),
            ({"responses": ["4", "5"], "label": [True]}, "row 1", "1 label(s) for 2 response(s)"),
            ({"responses": ["4"], "label": "x"}, "row 1, response 0", "the label must be true or false"),
            ({"responses": ["4"], "prompt": None}, "row 1, response 0", "extra_info holds no problem"),
            ({"responses": ["4"], "reward_model": "4"}, "row 1, response 0", "'reward_model' must be a struct"),
            ({"responses": ["4"], "extra_info": ["4"]}, "row 1, response 0", "'extra_info' must be a struct"),
        ],
    )
    def test_a_bad_row_is_named(self, parquet: Callable[..., Path], data: Any, where: str, why: str) -> None:
        bad = only_bad(read_rows(parquet([{"prompt": PROMPT, **data}])))
        assert bad.where == where
        assert why in bad.why

    def test_rows_are_counted_over_batches(self, parquet: Callable[..., Path]) -> None:
        rows = [{"prompt": PROMPT, "responses": [str(number)]} for number in range(600)]
        assert ids(read_rows(parquet(rows))) == [f"{number}/0" for number in range(1, 601)]

    def test_the_suffix_decides_in_any_case(self, parquet: Callable[..., Path]) -> None:
        path = parquet([{"prompt": PROMPT, "responses": "4"}])
        assert ids(read_rows(path.rename(path.with_name("ROLLOUTS.PARQUET")))) == ["1/0"]

    def test_the_format_may_be_named(self, parquet: Callable[..., Path]) -> None:
        path = parquet([{"prompt": PROMPT, "responses": "4"}])
        assert ids(read_rows(path.rename(path.with_name("rollouts")), Format.VERL)) == ["1/0"]

    @pytest.mark.parametrize("data", [b"", b"PAR1", b'{"problem": "2 + 2"}', b"PAR1" + b"\x00" * 100 + b"PAR1"])
    def test_what_is_no_parquet_file(self, tmp_path: Path, data: bytes) -> None:
        path = tmp_path / "rollouts.parquet"
        path.write_bytes(data)
        with pytest.raises(InputError, match=r"rollouts\.parquet cannot be read"):
            list(read_rows(path))

    def test_a_missing_parquet_file(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match=r"nowhere\.parquet cannot be read"):
            list(read_rows(tmp_path / "nowhere.parquet"))

    def test_text_that_is_not_utf_8(self, tmp_path: Path) -> None:
        path = tmp_path / "rollouts.parquet"
        binary = pyarrow.array([b"\xff"])
        text = pyarrow.Array.from_buffers(pyarrow.string(), 1, binary.buffers())
        pyarrow.parquet.write_table(pyarrow.table({"responses": text}), path)
        with pytest.raises(InputError, match="cannot be read"):
            list(read_rows(path))

    def test_without_pyarrow_it_says_what_to_install(
        self, parquet: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = parquet([{"prompt": PROMPT, "responses": "4"}])
        monkeypatch.setitem(sys.modules, "pyarrow", None)
        with pytest.raises(InputError, match=r"pip install 'genrm-harness\[parquet\]'"):
            list(read_rows(path))
