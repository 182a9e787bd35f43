"""Byte-level tokens: 1 byte of UTF-8 = 1 token, and the chat template that turns messages into a prompt.

The tokenizer and the template are those of the server that the contract was recorded from (contract section 1).
Token ids are GPT-2's byte order: the printable bytes first, the others after them; special tokens come last.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

SPECIAL_TOKENS = {"<|im_end|>": 256, "<|endoftext|>": 257, "<|im_start|>": 258}
LONGEST_TOKEN = max(map(len, SPECIAL_TOKENS))
"""Characters of the longest token: a text of more than this times the limit is refused without being tokenized."""

_SPECIAL = re.compile("|".join(re.escape(token) for token in SPECIAL_TOKENS))
_NAME_OF_SPECIAL = {token_id: token for token, token_id in SPECIAL_TOKENS.items()}
_PRINTABLE = [*range(33, 127), *range(161, 173), *range(174, 256)]
_BYTE_OF_ID = bytes(_PRINTABLE + [byte for byte in range(256) if byte not in _PRINTABLE])

Message = tuple[str, str]
"""Role and content of one chat message."""


def count_tokens(text: str) -> int:
    """Number of tokens of `text`. Special tokens in it count as one each: real servers parse them too.

    Raises UnicodeEncodeError for a lone surrogate, which has no UTF-8 form.
    """
    size = len(text.encode())
    if "<|" in text:
        size -= sum(len(special) - 1 for special in _SPECIAL.findall(text))
    return size


def decode(token_ids: Iterable[int]) -> str:
    """Text of the given token ids; ids outside the vocabulary stand for nothing, broken UTF-8 becomes U+FFFD."""
    pieces = bytearray()
    for token_id in token_ids:
        if 0 <= token_id < 256:
            pieces.append(_BYTE_OF_ID[token_id])
        else:
            pieces += _NAME_OF_SPECIAL.get(token_id, "").encode()
    return pieces.decode(errors="replace")


def render_chat(messages: Sequence[Message]) -> str:
    """The prompt that the chat template makes of `messages`, ending where the assistant begins to speak."""
    turns = [f"<|im_start|>{role}\n{content}<|im_end|>\n" for role, content in messages]
    return "".join(turns) + "<|im_start|>assistant\n"
