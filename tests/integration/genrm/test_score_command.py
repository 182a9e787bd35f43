"""`genrm score` as a process, against a mock judge: each sample once, whatever happens, and honest exit codes."""

from __future__ import annotations

import http.server
import json
import re
import signal
import socket
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest

import genrm
from genrm_command import PATIENCE, run, start, wait_until
from mock_server.server import MockServer

Servers = Callable[..., MockServer]
# Bytes of critique a second: a sample takes about 0.3 s, so that a run of 300 lasts long enough to be killed.
SLOW = 1500
ALWAYS = {"oracle": {"default": True}}


def solution(number: int) -> dict[str, Any]:
    return {
        "id": f"s{number}",
        "problem": f"What is {number} + 2?",
        "solution": f"We add: {number} + 2 = {number + 2}.\n\\boxed{{{number + 2}}}",
        "label": True,
    }


@pytest.fixture
def source(tmp_path: Path) -> Callable[..., Path]:
    """Write a file of so many solutions, and further lines as they are."""

    def write(count: int, *more: str) -> Path:
        path = tmp_path / "solutions.jsonl"
        lines = [*(json.dumps(solution(number)) for number in range(count)), *more]
        path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        return path

    return write


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "judged.jsonl"


@pytest.fixture
def nobody() -> Iterator[str]:
    """A URL where nothing listens, and where nothing else will come up meanwhile."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{taken.getsockname()[1]}"


def judged(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.read_bytes().splitlines()]


def assert_each_once(out: Path, count: int) -> None:
    assert out.read_bytes().endswith(b"\n")
    assert Counter(line["id"] for line in judged(out)) == Counter(f"s{number}" for number in range(count))


def whole_lines(out: Path) -> int:
    return out.read_bytes().count(b"\n") if out.exists() else 0


class TestJudging:
    def test_all_is_judged(self, mock_server: MockServer, source: Callable[..., Path], out: Path) -> None:
        wrong = json.dumps({**solution(40), "solution": "40 + 2 = 43\n\\boxed{43}", "label": False})
        result = run("score", source(40, wrong), "--out", out, GENRM_BASE_URL=mock_server.base_url)
        assert result.returncode == 0, result.stderr
        assert_each_once(out, 41)
        assert {line["id"]: line["verdict"] for line in judged(out)} == {
            f"s{number}": number < 40 for number in range(41)
        }
        assert result.stdout == ""
        assert "41/41" in result.stderr
        assert re.search(r"right +│ +40 │ +0 │ +0 │ +40", result.stderr)
        assert re.search(r"wrong +│ +0 │ +1 │ +0 │ +1", result.stderr)
        assert "agreement with the truth  100.0% of the verdicts" in result.stderr
        assert len(mock_server.requests) == 41

    def test_nothing_but_the_table_and_the_bar_is_said(
        self, mock_server: MockServer, source: Callable[..., Path], out: Path
    ) -> None:
        result = run("score", source(5), "--out", out, "--base-url", mock_server.base_url)
        assert result.stderr.startswith("judging")
        assert result.stderr.rstrip().endswith("samples/s")

    def test_options_go_before_variables(self, mock_server: MockServer, source: Callable[..., Path], out: Path) -> None:
        options = ["--base-url", mock_server.base_url, "--model-name", "genrm-demo", "--max-workers", "2"]
        environment = {"GENRM_BASE_URL": "http://127.0.0.1:1", "GENRM_MODEL_NAME": "other", "GENRM_MAX_WORKERS": "0"}
        assert run("score", source(3), "--out", out, *options, **environment).returncode == 0
        assert_each_once(out, 3)

    def test_several_judges(self, mock_server_factory: Servers, source: Callable[..., Path], out: Path) -> None:
        first, second = mock_server_factory(tokens_per_second=SLOW), mock_server_factory(tokens_per_second=SLOW)
        urls = ["--base-url", first.base_url, "--base-url", second.base_url]
        assert run("score", source(20), "--out", out, *urls).returncode == 0
        assert_each_once(out, 20)
        assert first.requests
        assert second.requests
        assert len(first.requests) + len(second.requests) == 20

    def test_what_is_judged_is_not_judged_again(
        self, mock_server: MockServer, source: Callable[..., Path], out: Path
    ) -> None:
        command = ("score", source(10), "--out", out, "--base-url", mock_server.base_url)
        assert run(*command).returncode == 0
        before = out.read_bytes()
        result = run(*command)
        assert result.returncode == 0
        assert out.read_bytes() == before
        assert len(mock_server.requests) == 10
        assert f"10 samples are in {out} already; 0 to go" in result.stderr
        assert re.search(r"right +│ +10 │", result.stderr)

    def test_a_file_that_grows_is_judged_on(
        self, mock_server: MockServer, source: Callable[..., Path], out: Path
    ) -> None:
        for count in (3, 8):
            assert run("score", source(count), "--out", out, "--base-url", mock_server.base_url).returncode == 0
        assert_each_once(out, 8)
        assert len(mock_server.requests) == 8

    def test_other_columns(self, mock_server: MockServer, tmp_path: Path, out: Path) -> None:
        path = tmp_path / "own.jsonl"
        path.write_text(json.dumps({"q": "What is 2 + 2?", "a": "2 + 2 = 5", "ok": 0, "gold": "4", "n": 7}))
        names = {"problem": "q", "solution": "a", "label": "ok", "answer": "gold", "id": "n"}
        options = [word for name, column in names.items() for word in (f"--{name}-column", column)]
        result = run("score", path, "--out", out, "--base-url", mock_server.base_url, *options)
        assert result.returncode == 0, result.stderr
        [line] = judged(out)
        assert (line["id"], line["label"], line["verdict"]) == ("7", False, False)

    def test_the_shape_of_gsm8ks_solutions(self, mock_server: MockServer, tmp_path: Path, out: Path) -> None:
        path = tmp_path / "example_model_solutions.jsonl"
        models = {"small": {"solution": "2 + 2 = 5", "is_correct": False}, "big": {"solution": "4", "is_correct": True}}
        path.write_text(json.dumps({"question": "What is 2 + 2?", "ground_truth": "Q: ...\nA: 4", **models}) + "\n")
        command = ("score", path, "--out", out, "--base-url", mock_server.base_url, "--format", "gsm8k-solutions")
        assert run(*command).returncode == 0
        assert {line["id"]: line["verdict"] for line in judged(out)} == {"1/small": False, "1/big": True}

    def test_a_parquet_file_of_verl(self, mock_server: MockServer, tmp_path: Path, out: Path) -> None:
        path = tmp_path / "rollouts.parquet"
        row = {"prompt": [{"role": "user", "content": "What is 2 + 2?"}], "responses": ["2 + 2 = 4", "2 + 2 = 5"]}
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist([row]), path)
        result = run("score", path, "--out", out, "--base-url", mock_server.base_url)
        assert result.returncode == 0, result.stderr
        assert {line["id"]: line["verdict"] for line in judged(out)} == {"1/0": True, "1/1": False}
        assert "not labelled" in result.stderr

    def test_no_verdict_is_written_whatever_a_training_run_would_do(
        self, mock_server_factory: Servers, source: Callable[..., Path], out: Path
    ) -> None:
        server = mock_server_factory(scenario={**ALWAYS, "shapes": {"no_box": 1.0}})
        result = run(
            *("score", source(12), "--out", out, "--base-url", server.base_url),
            GENRM_ON_NO_VERDICT="raise",
            GENRM_MAX_RETRIES=2,
        )
        assert result.returncode == 0, result.stderr
        assert_each_once(out, 12)
        assert {(line["verdict"], line["score"], line["attempts"]) for line in judged(out)} == {(None, None, 2)}
        assert "no_box 12" in result.stderr
        assert re.search(r"^WARNING +no verdict \(no_box\), 1 so far", result.stderr, re.MULTILINE)

    def test_an_empty_file(self, mock_server: MockServer, source: Callable[..., Path], out: Path) -> None:
        result = run("score", source(0), "--out", out, "--base-url", mock_server.base_url)
        assert result.returncode == 0
        assert "No sample was judged." in result.stderr


class TestBadLines:
    def test_they_are_named_and_the_rest_goes_on(
        self, mock_server: MockServer, source: Callable[..., Path], out: Path
    ) -> None:
        path = source(2, "no json", "", json.dumps({"id": "[/red]"}), json.dumps(solution(2)), json.dumps(solution(0)))
        result = run("score", path, "--out", out, "--base-url", mock_server.base_url)
        assert result.returncode == 1
        assert_each_once(out, 3)
        lines = result.stderr.splitlines()
        assert lines[:3] == [
            "line 3: no JSON: Expecting value at column 1",
            "line 5: no text in 'problem'; there are 'id'",
            "line 7: the id 's0' was there before",
        ]
        assert "3 bad line(s) were left out" in lines[-1]

    def test_names_of_models_are_no_markup(self, mock_server: MockServer, tmp_path: Path, out: Path) -> None:
        path = tmp_path / "models.jsonl"
        path.write_text(json.dumps({"question": "What is 2 + 2?", "[/x] [bold]m": {"solution": 4}}))
        command = ("score", path, "--out", out, "--base-url", mock_server.base_url, "--format", "gsm8k-solutions")
        result = run(*command)
        assert result.returncode == 1
        assert "line 1, '[/x] [bold]m': no text in 'solution'" in result.stderr

    def test_very_many_are_counted(self, mock_server: MockServer, source: Callable[..., Path], out: Path) -> None:
        result = run("score", source(1, *["?"] * 1500), "--out", out, "--base-url", mock_server.base_url)
        assert result.returncode == 1
        assert "line 21: " in result.stderr
        assert "line 22: " not in result.stderr
        assert "... and 1,480 more" in result.stderr
        assert "1,500 bad line(s) were left out" in result.stderr


class TestWrongUse:
    """Exit code 2, and a message that says what to change."""

    def test_a_wrong_setting_names_its_variable(self, source: Callable[..., Path], out: Path) -> None:
        result = run("score", source(1), "--out", out, GENRM_MAX_RETRIES="many", GENRM_BASE_DELAY="-1")
        assert result.returncode == 2
        assert "GENRM_MAX_RETRIES was 'many'; allowed: a whole number from 1 to 100" in result.stderr
        assert "GENRM_BASE_DELAY was '-1'" in result.stderr
        assert not out.exists()

    def test_a_wrong_url(self, source: Callable[..., Path], out: Path) -> None:
        result = run("score", source(1), "--out", out, "--base-url", "ftp://judge")
        assert result.returncode == 2
        assert "GENRM_BASE_URL was" in result.stderr

    def test_a_template_that_cannot_serve(self, source: Callable[..., Path], out: Path) -> None:
        result = run("score", source(1), "--out", out, GENRM_PROMPT_TEMPLATE="{problem}")
        assert result.returncode == 2
        assert "the field {solution} is missing" in result.stderr

    def test_a_missing_file(self, tmp_path: Path, out: Path) -> None:
        result = run("score", tmp_path / "nowhere[/x].jsonl", "--out", out)
        assert result.returncode == 2
        assert "nowhere[/x].jsonl cannot be read: No such file or directory" in result.stderr

    def test_no_out(self, source: Callable[..., Path]) -> None:
        result = run("score", source(1))
        assert result.returncode == 2
        assert "--out" in result.stderr

    def test_a_foreign_out(self, mock_server: MockServer, source: Callable[..., Path], out: Path) -> None:
        out.write_text("dear diary")
        result = run("score", source(1), "--out", out, "--base-url", mock_server.base_url)
        assert result.returncode == 2
        assert "was not written by genrm score; give a new --out" in result.stderr
        assert out.read_text() == "dear diary"

    def test_the_input_as_out(self, mock_server: MockServer, source: Callable[..., Path]) -> None:
        path = source(3)
        before = path.read_bytes()
        assert run("score", path, "--out", path, "--base-url", mock_server.base_url).returncode == 2
        assert path.read_bytes() == before

    def test_an_out_of_another_input(self, mock_server: MockServer, source: Callable[..., Path], out: Path) -> None:
        command = ("--out", out, "--base-url", mock_server.base_url)
        assert run("score", source(2), *command).returncode == 0
        before = out.read_bytes()
        path = source(0, json.dumps({**solution(0), "solution": "Another."}))
        result = run("score", path, *command)
        assert result.returncode == 2
        assert "holds another sample under the id 's0'" in result.stderr
        assert out.read_bytes() == before


class TestGone:
    """Exit code 3, and nothing is lost."""

    def test_a_judge_that_is_down_and_up_again(
        self, mock_server: MockServer, nobody: str, source: Callable[..., Path], out: Path
    ) -> None:
        path = source(60)
        result = run("score", path, "--out", out, "--base-url", nobody, GENRM_BASE_DELAY="0.01")
        assert result.returncode == 3
        assert "the judge is gone: no reply to 20 samples in a row" in result.stderr
        assert nobody in result.stderr
        assert "run the same command again to go on" in result.stderr
        assert judged(out) == []

        result = run("score", path, "--out", out, "--base-url", mock_server.base_url)
        assert result.returncode == 0
        assert_each_once(out, 60)

    def test_a_judge_that_goes_down_on_the_way(
        self, mock_server_factory: Servers, source: Callable[..., Path], out: Path
    ) -> None:
        path = source(300)
        first = MockServer(tokens_per_second=SLOW)
        with first:
            command = ("score", path, "--out", out, "--max-workers", "4", "--base-url", first.base_url)
            process = start(*command, GENRM_BASE_DELAY="0.01")
            wait_until(lambda: whole_lines(out) >= 5, process)
        _, err = process.communicate(timeout=PATIENCE)
        assert process.returncode == 3, err
        kept = out.read_bytes()
        assert 5 <= kept.count(b"\n") < 300

        again = mock_server_factory()
        assert run("score", path, "--out", out, "--base-url", again.base_url).returncode == 0
        assert out.read_bytes().startswith(kept)
        assert_each_once(out, 300)

    def test_a_wrong_key_is_noticed_at_once(
        self, mock_server_factory: Servers, source: Callable[..., Path], out: Path
    ) -> None:
        server = mock_server_factory(api_key="sk-the-right-one")
        result = run(
            *("score", source(500), "--out", out, "--base-url", server.base_url, "--max-workers", "8"),
            GENRM_API_KEY="sk-the-wrong-one",
        )
        assert result.returncode == 3
        assert "the judge is gone" in result.stderr
        assert "HTTP 401" in result.stderr
        assert judged(out) == []

    def test_a_wrong_model_is_noticed_at_once(
        self, mock_server: MockServer, source: Callable[..., Path], out: Path
    ) -> None:
        result = run(
            *("score", source(500), "--out", out, "--base-url", mock_server.base_url, "--max-workers", "8"),
            *("--model-name", "no-such-model"),
        )
        assert result.returncode == 3
        assert "HTTP 404" in result.stderr
        assert "no-such-model" in result.stderr
        assert len(mock_server.requests) <= 16

    def test_too_few_to_tell_are_left_for_the_next_run(
        self, mock_server: MockServer, nobody: str, source: Callable[..., Path], out: Path
    ) -> None:
        path = source(5)
        result = run("score", path, "--out", out, "--base-url", nobody, GENRM_BASE_DELAY="0.01")
        assert result.returncode == 1
        assert "5 sample(s) were left, because the judge did not reply; run the same command again" in result.stderr
        assert run("score", path, "--out", out, "--base-url", mock_server.base_url).returncode == 0
        assert_each_once(out, 5)

    def test_what_a_server_says_is_no_markup(self, source: Callable[..., Path], out: Path) -> None:
        with _says(503, "no [/room] for [bold]you") as url:
            result = run("score", source(3), "--out", out, "--base-url", url, GENRM_BASE_DELAY="0")
        assert result.returncode == 1
        assert "HTTP 503: no [/room] for [bold]you" in result.stderr.splitlines()[-1]


class TestKilled:
    def test_a_run_that_was_killed_goes_on_where_it_was(
        self, mock_server_factory: Servers, source: Callable[..., Path], out: Path
    ) -> None:
        path, slow = source(300), mock_server_factory(tokens_per_second=SLOW)
        process = start("score", path, "--out", out, "--max-workers", "4", "--base-url", slow.base_url)
        with process:
            wait_until(lambda: whole_lines(out) >= 10, process)
            process.kill()
        assert process.returncode == -signal.SIGKILL
        data = out.read_bytes()
        kept = data[: data.rindex(b"\n") + 1]
        assert 10 <= kept.count(b"\n") < 300
        out.write_bytes(data + b'{"id": "s29')  # what a kill within a write would have left

        fast = mock_server_factory()
        result = run("score", path, "--out", out, "--base-url", fast.base_url)
        assert result.returncode == 0, result.stderr
        assert out.read_bytes().startswith(kept)
        assert_each_once(out, 300)
        assert len(fast.requests) == 300 - kept.count(b"\n")

    def test_one_that_was_interrupted_says_how_to_go_on(
        self, mock_server_factory: Servers, source: Callable[..., Path], out: Path
    ) -> None:
        path, slow = source(300), mock_server_factory(tokens_per_second=SLOW)
        process = start("score", path, "--out", out, "--max-workers", "4", "--base-url", slow.base_url)
        wait_until(lambda: whole_lines(out) >= 10, process)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=PATIENCE)
        assert process.returncode == 130, err
        assert f"interrupted; what was judged is in {out}. Run the same command again to go on." in err
        assert "Traceback" not in err
        kept = out.read_bytes()
        assert kept.endswith(b"\n")
        assert 10 <= len(judged(out)) < 300

        fast = mock_server_factory()
        assert run("score", path, "--out", out, "--base-url", fast.base_url).returncode == 0
        assert out.read_bytes().startswith(kept)
        assert_each_once(out, 300)

    def test_two_runs_do_not_write_to_one_file(
        self, mock_server_factory: Servers, source: Callable[..., Path], out: Path
    ) -> None:
        path, slow = source(300), mock_server_factory(tokens_per_second=SLOW)
        command = ("score", path, "--out", out, "--max-workers", "2", "--base-url", slow.base_url)
        with start(*command) as first:
            wait_until(lambda: whole_lines(out) >= 1, first)
            second = run(*command)
            first.kill()
        assert second.returncode == 2
        assert f"{out} is being written by another process" in second.stderr


SECRET = "sk-0123456789-very-secret"


class TestTheKeyIsNeverSaid:
    @pytest.mark.parametrize(
        ("server_key", "more", "code"),
        [
            (SECRET, {}, 0),
            ("another", {}, 3),
            (SECRET, {"GENRM_MAX_WORKERS": "x"}, 2),
            (SECRET, {"GENRM_MODEL_NAME": "x"}, 3),
        ],
    )
    def test_by_us(
        self,
        mock_server_factory: Servers,
        source: Callable[..., Path],
        out: Path,
        server_key: str,
        more: dict[str, str],
        code: int,
    ) -> None:
        server = mock_server_factory(api_key=server_key)
        command = ("score", source(3, "bad"), "--out", out, "--base-url", server.base_url)
        result = run(*command, GENRM_API_KEY=SECRET, **more)
        assert result.returncode == (code or 1)  # there is a bad line
        written = out.read_text() if out.exists() else ""
        assert SECRET not in result.stdout + result.stderr + written

    def test_nor_by_a_server_that_repeats_it(self, source: Callable[..., Path], out: Path) -> None:
        with _says(400, f"who is {SECRET}?") as url:
            result = run("score", source(3), "--out", out, "--base-url", url, GENRM_API_KEY=SECRET)
        assert result.returncode == 0
        assert "who is ***?" in out.read_text()
        assert SECRET not in result.stdout + result.stderr + out.read_text()


class TestHelp:
    def test_the_command(self) -> None:
        result = run("--help")
        assert result.returncode == 0
        for word in ("demo", "score", "genrm score solutions.jsonl --out judged.jsonl"):
            assert word in result.stdout

    def test_score_shows_examples_and_exit_codes(self) -> None:
        text = run("score", "--help").stdout
        for word in (
            "genrm score solutions.jsonl --out judged.jsonl",
            "genrm score rollouts.parquet --out judged.jsonl --base-url",
            "--format gsm8k-solutions",
            "GENRM_API_KEY",
            "3: the judge is gone",
            "130: interrupted",
        ):
            assert word in text

    def test_no_arguments_show_the_help(self) -> None:
        result = run()
        assert result.returncode == 2
        assert "score" in result.stdout + result.stderr

    def test_the_version(self) -> None:
        result = run("--version")
        assert (result.returncode, result.stdout) == (0, f"genrm {genrm.__version__}\n")


@contextmanager
def _says(status: int, text: str) -> Iterator[str]:
    """A server that answers everything so; its URL."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            self.send_response(status)
            self.send_header("content-length", str(len(text)))
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_: Any) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()
