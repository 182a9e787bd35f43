"""A branch on a command line, and its leaves."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genrm.workbench.doctor.branches import leaves


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{}", {}),
        ("{ }", {}),
        ("{path:x.py,name:f}", {"path": "x.py", "name": "f"}),
        ("{path: x.py , name: f}", {"path": "x.py", "name": "f"}),
        ("{path:pkg://genrm.reward_function}", {"path": "pkg://genrm.reward_function"}),
        ("{a:{b:1,c:{d:2}},e:{}}", {"a.b": "1", "a.c.d": "2"}),
        ("{a:[1,{b:2},3],c:4}", {"a": "[1,{b:2},3]", "c": "4"}),
        ("{a:${oc.env:HOME},b:$FILE}", {"a": "${oc.env:HOME}", "b": "$FILE"}),
        ("{a:'x, }y',b:\"z: {\",c:'it\\'s, so'}", {"a": "'x, }y'", "b": '"z: {"', "c": "'it\\'s, so'"}),
        (r"{a:x\,y,b:z}", {"a": r"x\,y", "b": "z"}),
    ],
)
def test_leaves(text: str, expected: dict[str, str]) -> None:
    assert leaves(text) == expected


@pytest.mark.parametrize("text", ["", "x", "{", "[a:1]", "{a}", "{a:}", "{:1}", "{a:1,}", '{"a": 1}', "{a:1,,b:2}"])
def test_no_branch(text: str) -> None:
    assert leaves(text) is None


@given(text=st.text(st.sampled_from("ab:,{}[]'\"\\$ \n"), max_size=60))
def test_no_text_is_too_odd(text: str) -> None:
    leaves(f"{{{text}}}")
