"""What the parity tools hide and what they must not hide, and how they word a difference."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from parity import cases, metrics, normalise, report, streams
from parity.cases import CaseError
from parity.compare import differences
from parity.known import Outcome
from parity.products import PRODUCTS, Product

NOTHING: frozenset[str] = frozenset()


@pytest.mark.parametrize(
    ("value", "hidden"),
    [
        ({"id": "chatcmpl-8f3a0b12c4d5e6f7"}, {"id": "chatcmpl-<hex>"}),
        ({"id": "chatcmpl-my-own-name"}, {"id": "chatcmpl-my-own-name"}),
        ({"created": 1790000000}, {"created": "<time>"}),
        ({"content": "Yes", "refusal": None}, {"content": "<text>", "refusal": None}),
        ({"content": ""}, {"content": ""}),
        ({"finish_reason": "abort"}, {"finish_reason": "abort"}),
        (
            {"prompt_tokens": 3, "completion_tokens": 0, "total_tokens": 3},
            {"prompt_tokens": "<prompt>", "completion_tokens": 0, "total_tokens": "<sum of both>"},
        ),
        (
            {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 6},
            {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 6},
        ),
    ],
)
def test_only_what_differs_between_two_runs_is_hidden(value: object, hidden: object) -> None:
    assert normalise.json_value(value, NOTHING) == hidden


def test_an_answer_of_generate_is_hidden_but_for_its_form() -> None:
    about = {
        "id": "8f3a0b12c4d5e6f78f3a0b12c4d5e6f7",
        "finish_reason": {"type": "length", "length": 2},
        "prompt_tokens": 3,
        "completion_tokens": 2,
        "cached_tokens": 0,
        "cached_tokens_details": None,
        "output_token_logprobs": [[-5.2, 195, None], [-5.1, 17, "ab"]],
        "input_token_logprobs": [],
        "e2e_latency": 0.05,
    }
    hidden = {
        "id": "<hex>",
        "finish_reason": {"type": "length", "length": 2},
        "prompt_tokens": "<prompt>",
        "completion_tokens": "<completion>",
        "cached_tokens": 0,
        "cached_tokens_details": None,
        "output_token_logprobs": [["<number>", "<token>", None], ["<number>", "<token>", "<text>"]],
        "input_token_logprobs": [],
        "e2e_latency": "<time>",
    }
    answer = {"text": "ab", "output_ids": [195, 17], "meta_info": about}
    assert normalise.json_value(answer, NOTHING) == {"text": "<text>", "output_ids": ["<tokens>"], "meta_info": hidden}


def test_where_the_code_lies_that_refused_a_request_does_not_matter() -> None:
    message = '1 error\n  File "/opt/python/sglang/srt/entrypoints/http_server.py", line 7'
    hidden = '1 error\n  File "<packages>/sglang/srt/entrypoints/http_server.py", line 7'
    assert normalise.json_value({"message": message}, NOTHING) == {"message": hidden}


def test_a_change_of_an_object_keeps_its_other_fields(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(
        "flavour: dev\ncases: [{name: a, generate: {sampling_params: {max_new_tokens: 2}}}]\n"
    )
    (case,) = cases.load(tmp_path, ["dev"])
    assert case.steps[0].request is not None
    body = json.loads(case.steps[0].request.body or b"")
    assert body["sampling_params"] == {"max_new_tokens": 2, "temperature": 0, "ignore_eos": True}
    assert body["text"] == "Seven times six"


def chunk(text: str, finish: str | None = None, index: int = 0) -> str:
    reason = "null" if finish is None else f'"{finish}"'
    return f'data: {{"choices":[{{"index":{index},"delta":{{"content":"{text}"}},"finish_reason":{reason}}}]}}\n\n'


def stream(*chunks: str) -> dict[str, object]:
    body = "".join([*chunks, "data: [DONE]\n\n"]).encode()
    return streams.normalised(body, lambda value: normalise.json_value(value, NOTHING))


def test_how_text_is_cut_into_chunks_does_not_matter() -> None:
    assert stream(chunk("Tr"), chunk("ue"), chunk("", "stop")) == stream(chunk("T"), chunk("ru"), chunk("e", "stop"))


def test_how_choices_interleave_does_not_matter() -> None:
    one, other = chunk("a", "stop"), chunk("b", "stop", index=1)
    assert stream(one, other) == stream(other, one)


def test_how_a_stream_ends_matters() -> None:
    assert stream(chunk("a"), chunk("", "stop")) != stream(chunk("a"), chunk("", "abort"))
    assert stream(chunk("a"), chunk("", "stop")) != stream(chunk("a"))


@pytest.mark.parametrize(
    ("body", "framing"),
    [
        ("data: 1\n\ndata: [DONE]\n\n", "data"),
        ("data: 1\n\ndata: [DONE]\n", "other lines: []"),
        ("data: 1\ndata: [DONE]\n\n", "other lines: []"),
        (": comment\n\ndata: 1\n\n", "other lines: [': comment']"),
        ("data: 1\n\ndata", "ends within a line"),
    ],
)
def test_framing_is_compared_exactly(body: str, framing: str) -> None:
    assert streams.normalised(body.encode(), lambda value: value)["framing"] == framing


def test_a_difference_says_where_it_is() -> None:
    expected = {"1 POST /sleep": {"status": 200, "body": {"level": 1, "tags": None}}}
    actual = {"1 POST /sleep": {"status": 200, "body": {"level": 2, "more": 1}}}
    assert list(differences(expected, actual)) == [
        "1 POST /sleep -> body -> level: 1 | 2",
        "1 POST /sleep -> body -> tags: null | (missing)",
        "1 POST /sleep -> body -> more: (missing) | 1",
    ]


def test_true_is_not_one() -> None:
    assert list(differences({"n": 1}, {"n": True})) == ["n: 1 | true"]


def test_counters_that_moved() -> None:
    old = metrics.samples('a_total{engine="0",kind="x"} 1.0\nb_total{engine="0"} 5.0\n')
    new = metrics.samples(
        'a_total{engine="0",kind="x"} 3.0\na_total{engine="0",kind="y"} 0.0\nb_total{engine="0"} 9.0\n'
    )
    assert metrics.moved(old, new, "a_total", signs="b_total") == {"a_total{kind=x}": 2.0, "b_total": "+"}


def test_an_excuse_that_is_not_needed_is_a_complaint() -> None:
    assert not Outcome("a", ["x: 1 | 2"], "by design").complaint
    assert "x: 1 | 2" in Outcome("a", ["x: 1 | 2"]).complaint
    assert "remove it" in Outcome("a", [], "by design").complaint
    assert not Outcome("a", []).complaint


@pytest.mark.parametrize(
    ("step", "complaint"),
    [("{send: GET /health, jsom: {}}", "does not know jsom"), ("{nonsense: 1}", "must have exactly one of")],
)
def test_a_mistake_in_a_case_file_is_named(tmp_path: Path, step: str, complaint: str) -> None:
    (tmp_path / "wrong.yaml").write_text(f"flavour: dev\ncases:\n  - name: first\n    steps:\n      - {step}\n")
    with pytest.raises(CaseError, match=f"wrong.yaml: first: step 1.* {complaint}"):
        cases.load(tmp_path, ["dev"])


@pytest.mark.parametrize("product", PRODUCTS.values(), ids=PRODUCTS)
def test_the_table_counts_and_gives_reasons(product: Product, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(report.PAGE.read_text(encoding="utf-8"), encoding="utf-8")
    some = cases.load(product.cases, product.flavours)[:3]
    outcomes = [Outcome(some[0].name, ["x: 1 | 2"], "by design"), *(Outcome(case.name, []) for case in some[1:])]
    report.write(product, report.table(product, some, outcomes), page)
    text = page.read_text(encoding="utf-8")
    assert "| **all** | | **3** | **2** | **1** |" in text
    assert f"| `{some[0].name}` | by design |" in text
