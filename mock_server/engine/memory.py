"""The engine's memory as its executor keeps the book of it: which parts sleep (contract section 2, steps 4 and on)."""

from __future__ import annotations

from collections.abc import Sequence

from mock_server.engine.rules import EngineRules
from mock_server.errors import EngineCallError

MEMORY_TAGS = ("weights", "kv_cache")


class Memory:
    """The parts that may sleep, by a version's rules."""

    def __init__(self, rules: EngineRules) -> None:
        self.rules = rules
        self.asleep: set[str] = set()

    def sleep(self) -> None:
        """Give all of it back, unless the rules say that it sleeps already."""
        held = "weights" in self.asleep if self.rules.sleeps_again else self.asleep
        if not held:
            self.asleep = set(MEMORY_TAGS)

    def wake(self, tags: Sequence[str] | None) -> None:
        """Take back what is named (None: all). A tag that is not asleep makes the whole call a silent no-op.

        Raises EngineCallError for a tag given twice; it is awake all the same.
        """
        wanted = list(self.asleep) if tags is None else tags
        if not self.asleep.issuperset(wanted):
            return
        self.asleep.difference_update(wanted)
        for tag in wanted:
            if wanted.count(tag) > 1:
                raise EngineCallError("wake_up", repr(tag))
