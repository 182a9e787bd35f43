"""The index finds what trying one after the other finds; and what befalls a content depends on nothing else."""

from __future__ import annotations

import json
import random
import re
from collections import defaultdict
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from mock_server import load_scenario
from mock_server.faults.plan import Call, CallCounts, FaultPlan
from mock_server.judge.matching import Matcher, MatchIndex, matches
from mock_server.prompts import PromptFormat

# Few letters, so that there is something to be found; and a lone surrogate.
WORDS = st.text("ab \ud800", max_size=4)
MATCHERS = st.none() | WORDS | st.sampled_from([re.compile("a+b"), re.compile("^b"), re.compile("")])
TEXTS = st.text("ab c\ud800", max_size=20)


def naive(entries: Sequence[tuple[Matcher, ...]], texts: Sequence[str]) -> list[int]:
    return [
        number
        for number, entry in enumerate(entries)
        if all(matches(wanted, text) for wanted, text in zip(entry, texts, strict=True))
    ]


@given(st.lists(st.tuples(MATCHERS, MATCHERS), max_size=12), st.lists(st.tuples(TEXTS, TEXTS), max_size=4))
def test_the_index_is_the_naive_loop(entries: list[tuple[Matcher, ...]], texts: list[tuple[str, str]]) -> None:
    index = MatchIndex(entries)
    for pair in texts:
        assert list(index.matching(pair)) == naive(entries, pair)


WHEN = st.one_of(
    st.builds(lambda nth: {"nth": nth}, st.lists(st.integers(1, 4), max_size=3)),
    st.builds(lambda every: {"every": every}, st.integers(1, 3)),
    st.builds(lambda share: {"share": share}, st.sampled_from([0.0, 0.3, 0.7, 1.0])),
)
FAULTS = st.lists(
    st.fixed_dictionaries(
        {"when": WHEN, "fault": st.sampled_from(["close", "reset", "hang", {"latency": {"seconds": 1, "jitter": 1}}])},
        optional={
            "times": st.integers(1, 3),
            "match": st.sampled_from([{}, {"content": "1"}, {"content": {"regex": "[23]"}}, {"scope": "s"}]),
        },
    ),
    max_size=5,
)


@given(FAULTS, st.lists(st.tuples(st.integers(0, 4), st.sampled_from(["", "s"])), max_size=30), st.randoms())
def test_what_befalls_a_content_does_not_depend_on_the_order(
    faults: list[dict[str, object]], asked: list[tuple[int, str]], rng: random.Random
) -> None:
    plan = FaultPlan(load_scenario({"faults": faults}).faults, seed=5)

    def outcomes(order: list[tuple[int, str]]) -> dict[tuple[int, str], list[object]]:
        counts = CallCounts()
        found: dict[tuple[int, str], list[object]] = defaultdict(list)
        for content, scope in order:
            body = json.dumps({"prompt": f"prompt {content}"}).encode()
            call = Call.read("/v1/completions", scope, body, PromptFormat())
            found[content, scope].append(plan.chosen(call, counts.next(call)))
        return found

    shuffled = list(asked)
    rng.shuffle(shuffled)
    assert outcomes(asked) == outcomes(shuffled)
