"""How the values of settings are read: what people, shells and Hydra write -> what `genrm.settings` keeps.

Each raises ValueError for what it cannot read; pydantic tells the rest.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from pydantic import SecretStr


def read_urls(value: Any) -> tuple[str, ...]:
    """Base URLs: a text with commas or blanks between them, or several texts."""
    if not isinstance(value, Sequence):
        raise ValueError("neither a URL nor several")
    if "@" in (value if isinstance(value, str) else "".join(map(str, value))):
        # Before it is taken apart: what is wrong with a part would be told with the part.
        raise ValueError("a URL must not hold credentials (they would be printed): use GENRM_API_KEY")
    if isinstance(value, str):
        value = [part for part in re.split(r"[,\s]+", value) if part]
    return tuple(_url(part) for part in value)


def _url(text: Any) -> str:
    """One base URL in its one form: a scheme, a host, no credentials, no trailing ``/v1``."""
    url = str(text).strip()
    if "://" not in url:
        url = f"http://{url}"
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("not an http(s) URL")
    _ = parts.port  # raises ValueError where it is no port
    return re.sub(r"/+$", "", re.sub(r"/+v1(/chat/completions)?/*$", "", url))


def revealed(value: Any) -> Any:
    """A secret's text; all else as it is."""
    return value.get_secret_value() if isinstance(value, SecretStr) else value


def read_key(value: Any) -> Any:
    """A key as it can stand in a header; a line feed at its end comes from reading it out of a file."""
    text = revealed(value)
    if not isinstance(text, str):
        return value
    text = text.strip()
    if not (text.isascii() and text.isprintable()):
        raise ValueError("a key goes into a header, which holds printable ASCII only")
    return text


def read_switch_or_file(value: Any) -> Any:
    """on and off also as YAML and the shell spell them; else a file's path."""
    word = str(value).strip().lower()
    return {"true": "on", "1": "on", "false": "off", "0": "off"}.get(word, word if word in ("on", "off") else value)


def read_word(value: Any) -> Any:
    """A word in any case."""
    return value.strip().lower() if isinstance(value, str) else value


# What the settings or the protocol decide. Overriding them in passing would be a setting ignored in silence.
_OURS = frozenset({"model", "messages", "temperature", "max_tokens", "stream", "n"})
# Some models of external APIs refuse these, so that null takes them away.
_OPTIONAL = frozenset({"temperature", "max_tokens"})


def read_json_object(value: Any) -> str:
    """An object as canonical JSON text (settings must be hashable)."""
    value = json.loads(value) if isinstance(value, str) else _plain(value)
    if not isinstance(value, dict):
        raise ValueError("not a JSON object")
    if taken := sorted(name for name in _OURS & set(value) if value[name] is not None or name not in _OPTIONAL):
        raise ValueError(f"{', '.join(taken)} cannot be set here")
    try:
        return json.dumps(value, sort_keys=True)
    except TypeError as error:
        raise ValueError(str(error)) from None


def _plain(value: Any) -> Any:
    """What Hydra makes of nested reward_kwargs, in JSON's own types."""
    if isinstance(value, Mapping):
        return {str(name): _plain(part) for name, part in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_plain(part) for part in value]
    return value


def read_word_or_number(value: Any) -> Any:
    """Numbers are told from words here, so that "nan" stays the word and "inf" is refused."""
    value = read_word(value)
    try:
        number = float(value)
    except (TypeError, ValueError):
        return value
    return number if math.isfinite(number) else str(number)
