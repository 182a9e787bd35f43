"""The prefix cache: which beginnings of prompts have been read before. Only counted with, nothing is faster by it.

Blocks are of 128 tokens, as on the vLLM that the contract was recorded from (SGLang's of one), and every block's key
covers all that comes before it.
"""

from __future__ import annotations

from collections.abc import Sequence
from zlib import crc32

BLOCK_TOKENS = 128
_MOST_BLOCKS = 65536


def block_keys(prompt: bytes, block_tokens: int = BLOCK_TOKENS) -> tuple[int, ...]:
    """The keys of the full blocks of `prompt`."""
    key, keys = 0, []
    for end in range(block_tokens, len(prompt) + 1, block_tokens):
        key = crc32(prompt[end - block_tokens : end], key)
        keys.append(key)
    return tuple(keys)


class PrefixCache:
    """The blocks that the engine still holds."""

    def __init__(self, block_tokens: int = BLOCK_TOKENS) -> None:
        self.block_tokens = block_tokens
        self._blocks: set[int] = set()

    def admit(self, keys: Sequence[int], prompt_tokens: int) -> int:
        """Read a prompt: returns how many of its tokens were cached, and keeps its blocks.

        The last token is always computed, so a prompt is never cached whole.
        """
        hits = 0
        for key in keys:
            if key not in self._blocks:
                break
            hits += 1
        if len(self._blocks) > _MOST_BLOCKS:
            self._blocks.clear()
        self._blocks.update(keys)
        return min(hits, max(0, prompt_tokens - 1) // self.block_tokens) * self.block_tokens

    def clear(self) -> None:
        """Forget everything."""
        self._blocks.clear()
