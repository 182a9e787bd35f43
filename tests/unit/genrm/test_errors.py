"""Errors: one tree, drawn in its docstring; all of them pickle and name where and what."""

from __future__ import annotations

import inspect
import pickle

import pytest

import genrm
from genrm import errors


def _classes() -> list[type[errors.GenRMError]]:
    return [
        member
        for _, member in inspect.getmembers(errors, inspect.isclass)
        if issubclass(member, errors.GenRMError) and member.__module__ == errors.__name__
    ]


def test_the_docstring_draws_the_whole_tree() -> None:
    for kind in _classes():
        assert f"{kind.__name__} " in f"{errors.__doc__} ".replace("\n", " ")


@pytest.mark.parametrize("kind", [kind for kind in _classes() if issubclass(kind, errors.JudgeError)])
def test_judge_errors_pickle_and_name_url_attempt_and_cause(kind: type[errors.JudgeError]) -> None:
    error = kind("http://a/v1", "HTTP 503: busy", status=503, retry_after=2.5)
    error.attempt = 2
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is kind
    assert vars(again) == vars(error)
    assert str(again) == "http://a/v1 (attempt 2): HTTP 503: busy"
    assert str(kind("http://a/v1", "x")) == "http://a/v1: x"


def test_the_other_errors_pickle() -> None:
    for error in (
        errors.SettingsError("a"),
        errors.TemplateError("b"),
        errors.SampleError("c"),
        errors.NoVerdictError("no_box", 3, "u: c"),
    ):
        again = pickle.loads(pickle.dumps(error))
        assert (type(again), str(again)) == (type(error), str(error))
    assert str(errors.NoVerdictError("no_box", 3)) == "no verdict (no_box) after 3 attempt(s)"


def test_the_package_exports_what_it_says() -> None:
    assert sorted(genrm.__all__, key=str.lower) == sorted(set(genrm.__all__), key=str.lower)
    for name in genrm.__all__:
        assert hasattr(genrm, name)
    assert {kind.__name__ for kind in _classes()} <= set(genrm.__all__)
