"""Byte-level tokens: 1 byte of UTF-8 = 1 token, and the chat template that turns messages into a prompt.

The tokenizer and the template are those of the server that the contract was recorded from (contract section 1).
Token ids are GPT-2's byte order: the printable bytes first, the others after them; special tokens come last.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

SPECIAL_TOKENS = {"<|im_end|>": 256, "<|endoftext|>": 257, "<|im_start|>": 258}
LONGEST_TOKEN = max(map(len, SPECIAL_TOKENS))
"""Characters of the longest token: a text of more than this times the limit is refused without being tokenized."""

_SPECIAL = re.compile("|".join(re.escape(token) for token in SPECIAL_TOKENS))
_NAME_OF_SPECIAL = {token_id: token for token, token_id in SPECIAL_TOKENS.items()}
_PRINTABLE = [*range(33, 127), *range(161, 173), *range(174, 256)]
_BYTE_OF_ID = bytes(_PRINTABLE + [byte for byte in range(256) if byte not in _PRINTABLE])

_ID_OF_BYTE = bytes(_BYTE_OF_ID.index(byte) for byte in range(256))
VOCABULARY = 256 + len(SPECIAL_TOKENS)
END_TOKEN = SPECIAL_TOKENS["<|im_end|>"]
"""What an answer ends with."""

Message = tuple[str, str]
"""Role and content of one chat message."""

_TEMPLATE_ROLES = {"developer": "system"}
"""A template that does not know a role gets another one."""


def count_tokens(text: str) -> int:
    """Number of tokens of `text`. Special tokens in it count as one each: real servers parse them too.

    Raises UnicodeEncodeError for a lone surrogate, which has no UTF-8 form.
    """
    size = len(text.encode())
    if "<|" in text:
        size -= sum(len(special) - 1 for special in _SPECIAL.findall(text))
    return size


def ids_of(data: bytes) -> bytes:
    """The token ids of plain text, in which nothing is special, one a byte."""
    return data.translate(_ID_OF_BYTE)


def encode(text: str) -> list[int]:
    """The token ids of `text`, special tokens in it recognised. Raises UnicodeEncodeError for a lone surrogate."""
    ids: list[int] = []
    at = 0
    for special in _SPECIAL.finditer(text):
        ids += ids_of(text[at : special.start()].encode())
        ids.append(SPECIAL_TOKENS[special.group()])
        at = special.end()
    return ids + list(ids_of(text[at:].encode()))


def token_bytes(token_id: int) -> bytes:
    """What one token stands for; nothing for an id outside the vocabulary."""
    if 0 <= token_id < 256:
        return _BYTE_OF_ID[token_id : token_id + 1]
    return _NAME_OF_SPECIAL.get(token_id, "").encode()


def token_string(token_id: int) -> str:
    """The token as byte-level tokenizers spell it: a visible character for every byte (a blank is `\u0120`)."""
    if token_id >= 256:
        return _NAME_OF_SPECIAL.get(token_id, "")
    return chr(_BYTE_OF_ID[token_id]) if token_id < len(_PRINTABLE) else chr(256 + token_id - len(_PRINTABLE))


def decode(token_ids: Iterable[int]) -> str:
    """Text of the given token ids; ids outside the vocabulary stand for nothing, broken UTF-8 becomes U+FFFD."""
    return b"".join(map(token_bytes, token_ids)).decode(errors="replace")


def render_chat(
    messages: Sequence[Message],
    add_generation_prompt: bool = True,
    continue_final: bool = False,
    roles: Mapping[str, str] = _TEMPLATE_ROLES,
) -> str:
    """The prompt that the chat template makes of `messages`; `roles`: those that it gets by another name.

    It ends where the assistant begins to speak, after the last message, or (`continue_final`) inside the last message.
    """
    text = "".join([f"<|im_start|>{roles.get(role, role)}\n{content}<|im_end|>\n" for role, content in messages])
    if continue_final:
        return text.removesuffix("<|im_end|>\n")
    return text + "<|im_start|>assistant\n" if add_generation_prompt else text
