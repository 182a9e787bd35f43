"""NVML for a machine with as many GPUs as a test likes: put it into `sys.modules` as `pynvml`."""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace


@dataclass
class Card:
    """A GPU, in GiB."""

    uuid: str
    total: float = 80.0
    used: float = 0.0


class FakeNvml:
    """The module."""

    def __init__(self, *cards: Card) -> None:
        self.cards = cards

    def nvmlInit(self) -> None:  # noqa: N802
        """There is a driver."""

    def nvmlDeviceGetCount(self) -> int:  # noqa: N802
        """All of them."""
        return len(self.cards)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> Card:  # noqa: N802
        """Along the bus."""
        return self.cards[index]

    def nvmlDeviceGetHandleByUUID(self, uuid: str) -> Card:  # noqa: N802
        """By its whole name."""
        return next(card for card in self.cards if card.uuid == uuid)

    def nvmlDeviceGetUUID(self, card: Card) -> str:  # noqa: N802
        """Its name."""
        return card.uuid

    def nvmlDeviceGetMemoryInfo(self, card: Card) -> SimpleNamespace:  # noqa: N802
        """In bytes."""
        return SimpleNamespace(total=int(card.total * 2**30), used=int(card.used * 2**30))
