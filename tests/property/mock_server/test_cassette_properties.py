"""Whatever is recorded is found again, in any order, also out of the file."""

from __future__ import annotations

import json
import random
import tempfile
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from mock_server.cassettes.cassette import Answered, Asked, Cassette
from mock_server.cassettes.misses import explain

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
BODIES = st.binary(max_size=20) | JSON.map(lambda value: json.dumps(value).encode())
ASKED = st.builds(
    Asked.of, st.sampled_from(["GET", "POST"]), st.sampled_from(["/a", "/b/c"]), st.text(max_size=6), BODIES
)
ANSWERED = st.builds(
    Answered,
    st.integers(100, 599),
    st.just((("content-type", "text/plain"),)),
    st.lists(st.binary(max_size=10), max_size=3).map(tuple),
)


@given(st.lists(st.tuples(ASKED, ANSWERED), max_size=8), st.randoms())
def test_a_cassette_gives_back_what_was_recorded(exchanges: list[tuple[Asked, Answered]], rng: random.Random) -> None:
    cassette = Cassette()
    for asked, answered in exchanges:
        cassette.record(asked, answered)
    with tempfile.TemporaryDirectory() as folder:
        cassette.save(Path(folder) / "c.json")
        loaded = Cassette.load(Path(folder) / "c.json")
    assert loaded.answers == cassette.answers
    # Requests of different content in any order; those of the same content in their own.
    order = [asked for asked, _ in exchanges]
    rng.shuffle(order)
    played: dict[Asked, list[Answered | None]] = {}
    for asked in order:
        played.setdefault(asked, []).append(loaded.find(asked))
    assert played == {asked: [answer for other, answer in exchanges if other == asked] for asked in played}


@given(st.lists(ASKED, max_size=4), ASKED)
def test_every_miss_can_be_explained(recorded: list[Asked], asked: Asked) -> None:
    cassette = Cassette()
    for other in recorded:
        cassette.record(other, Answered(200, (), ()))
    assert "was never recorded" in explain(asked, cassette)
