"""Which of many matchers fit some texts, without trying each: 1,000 plain substrings are searched for at once.

An entry is one matcher a text; it fits when all of them do. The order of the entries is kept, so that "the first that
fits" means the same as trying one after the other (a property test compares the two).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence

import ahocorasick

from mock_server.prompts import MARK, canonical
from mock_server.schema import TextMatch

Matcher = str | re.Pattern[str] | None
"""What a text must contain: a canonical substring, a pattern, or anything."""


def matcher(match: TextMatch | None, mark: str = MARK) -> Matcher:
    """What a scenario's match comes down to."""
    if match is None:
        return None
    if match.regex is not None:
        return re.compile(match.regex)
    return canonical(match.contains or "", mark)


def matches(wanted: Matcher, text: str) -> bool:
    """Whether one matcher fits one text."""
    if wanted is None:
        return True
    return wanted in text if isinstance(wanted, str) else wanted.search(text) is not None


class MatchIndex:
    """Entries of equally many matchers, to be held against as many texts.

    Each entry with a plain substring is filed under one of them, the one that fewest entries share; all of those are
    found in one pass over a text (Aho-Corasick). Entries without one, patterns mostly, are tried one by one.
    """

    def __init__(self, entries: Sequence[tuple[Matcher, ...]]) -> None:
        self._entries = list(entries)
        self._unfiled: list[int] = []
        self._searches: list[tuple[int, ahocorasick.Automaton]] = []
        self._file()

    def _file(self) -> None:
        shared = Counter((at, word) for entry in self._entries for at, word in _plain(entry))
        files: dict[int, dict[str, list[int]]] = {}
        for number, entry in enumerate(self._entries):
            words = _plain(entry)
            if words:
                at, word = min(words, key=lambda key: shared[key])
                files.setdefault(at, {}).setdefault(word, []).append(number)
            else:
                self._unfiled.append(number)
        for at, words_at in files.items():
            automaton = ahocorasick.Automaton()
            for word, numbers in words_at.items():
                automaton.add_word(word, numbers)
            automaton.make_automaton()
            self._searches.append((at, automaton))

    def matching(self, texts: Sequence[str]) -> Iterator[int]:
        """The numbers of the entries that fit, in their order."""
        found = set(self._unfiled)
        for at, automaton in self._searches:
            for _, numbers in automaton.iter(texts[at]):
                found.update(numbers)
        for number in sorted(found):
            if all(matches(wanted, text) for wanted, text in zip(self._entries[number], texts, strict=True)):
                yield number


def _plain(entry: tuple[Matcher, ...]) -> list[tuple[int, str]]:
    """Where in an entry the substrings are, and what they are. An empty one is no condition."""
    return [(at, wanted) for at, wanted in enumerate(entry) if isinstance(wanted, str) and wanted]
