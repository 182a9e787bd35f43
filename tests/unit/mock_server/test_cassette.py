"""Cassettes: what counts as the same request, the file, and what a miss says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from mock_server.cassettes.cassette import Answered, Asked, Cassette, CassetteError
from mock_server.cassettes.misses import explain


def asked(body: Any = None, path: str = "/v1/chat/completions", query: str = "", method: str = "POST") -> Asked:
    raw = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
    return Asked.of(method, path, query, raw)


def answered(text: str, status: int = 200) -> Answered:
    return Answered(status, (("content-type", "application/json"),), (text.encode(),))


def chat(content: str) -> dict[str, Any]:
    return {"model": "m", "messages": [{"role": "user", "content": content}], "temperature": 0}


def test_white_space_and_the_order_of_keys_do_not_matter() -> None:
    assert asked(b'{"a": 1, "b": [2]}') == asked(b'{"b":[2],\n"a":1}')
    assert asked(query="b=2&a=1", method="GET") == asked(query="a=1&b=2", method="GET")
    assert asked(b'{"a": 1}') != asked(b'{"a": 2}')
    assert asked(b'"abc"') != asked(b"abc")
    assert asked(method="GET") != asked(method="POST")


def test_answers_come_in_the_order_of_the_recording_and_the_last_stays() -> None:
    cassette = Cassette()
    for text in ("first", "second"):
        cassette.record(asked(chat("q")), answered(text))
    cassette.record(asked(chat("other")), answered("other"))
    found = [cassette.find(asked(chat(question))) for question in ("q", "other", "q", "q")]
    assert [answer.pieces[0].decode() for answer in found if answer] == ["first", "other", "second", "second"]
    assert cassette.find(asked(chat("never"))) is None


def test_the_file_does_not_depend_on_the_order_of_recording(tmp_path: Path) -> None:
    contents = []
    for order in ([0, 1, 2], [2, 0, 1]):
        cassette = Cassette()
        for number in order:
            cassette.record(asked(chat(str(number))), answered(str(number)))
        cassette.save(tmp_path / "c.json")
        contents.append((tmp_path / "c.json").read_bytes())
    assert contents[0] == contents[1]
    assert list(tmp_path.iterdir()) == [tmp_path / "c.json"]


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (None, "cannot be read"),
        ("{", "is no JSON"),
        ("[]", "is no cassette"),
        ('{"cassette": 99}', "is no cassette of format 1"),
        ('{"cassette": 1}', "is damaged: KeyError: 'requests'"),
        ('{"cassette": 1, "requests": [{"method": "GET"}]}', "is damaged"),
        ('{"cassette": 1, "requests": [3]}', "is damaged"),
    ],
)
def test_a_file_that_is_none_is_refused(tmp_path: Path, content: str | None, complaint: str) -> None:
    path = tmp_path / "c.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(CassetteError, match=complaint) as caught:
        Cassette.load(path)
    assert str(path) in str(caught.value)


def test_bytes_that_are_no_text_survive(tmp_path: Path) -> None:
    cassette = Cassette()
    answer = Answered(200, (), (b"\xff\xfe", b"", "é".encode()))
    cassette.record(asked(b"\xff no json"), answer)
    cassette.save(tmp_path / "c.json")
    assert Cassette.load(tmp_path / "c.json").answers == {asked(b"\xff no json"): [answer]}


@pytest.mark.parametrize(
    ("request_", "said"),
    [
        (asked(chat("What is 2 + 3?")), 'body.messages[0].content: from character 12, "What is 2 + 2?" was recorded'),
        (asked({**chat("What is 2 + 2?"), "seed": 7}), "body.seed: nothing was recorded, 7 was asked"),
        (asked({"model": "m", "messages": []}), "body.temperature: 0 was recorded, nothing was asked"),
        (asked({**chat("What is 2 + 2?"), "temperature": 1}), "body.temperature: 0 was recorded, 1 was asked"),
        (asked(chat("What is 2 + 2?"), query="x=1"), "query: {} was recorded, {'x': '1'} was asked"),
        (asked(chat("What is 2 + 2?"), "/v1/completions"), "path: /v1/chat/completions was recorded"),
        (asked(chat("What is 2 + 2?"), method="PUT"), "method: POST was recorded, PUT was asked"),
        (asked(b"x" * 500), "body: "),
    ],
)
def test_a_miss_names_the_nearest_request_and_the_difference(request_: Asked, said: str) -> None:
    cassette = Cassette()
    cassette.record(asked(chat("Something else entirely, with nothing in common")), answered("a"))
    cassette.record(asked(chat("What is 2 + 2?")), answered("b"))
    explanation = explain(request_, cassette)
    assert "was never recorded; the nearest of 2 is POST /v1/chat/completions" in explanation
    assert said in explanation
    assert len(explanation) < 1500


def test_a_miss_in_an_empty_cassette() -> None:
    assert explain(asked(method="GET", path="/x", query="a=1"), Cassette()) == (
        "GET /x?a=1 was never recorded; the cassette is empty"
    )


def test_many_differences_are_counted() -> None:
    cassette = Cassette()
    cassette.record(asked({str(n): n for n in range(9)}), answered("a"))
    assert explain(asked({str(n): -n - 1 for n in range(9)}), cassette).endswith("and 4 more")
