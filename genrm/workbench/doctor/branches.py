"""A whole branch as it is written on a command line for Hydra -> its leaves.

``reward_model={enable:true,model:{path:x}}`` sets what ``reward_model.enable=true reward_model.model.path=x`` sets. It
is no YAML, which wants a blank after a colon. The leaves stay text: what they are is not decided here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

# What is quoted or escaped holds no sign of the grammar.
_TOKEN = re.compile(r"""'(?:\\.|[^'\\])*' | "(?:\\.|[^"\\])*" | \\. | .""", re.VERBOSE | re.DOTALL)
_KEY = re.compile(r"""[^'"\\{}\[\]]+""")


def leaves(text: str) -> dict[str, str] | None:
    """The leaves by their dotted keys, in the order written; None where the text is no branch."""
    text = text.strip()
    if not (text.startswith("{") and text.endswith("}")):
        return None
    found: dict[str, str] = {}
    for part in _parts(text[1:-1].strip()):
        key, colon, value = (word.strip() for word in part.partition(":"))
        if not (colon and value and _KEY.fullmatch(key)):
            return None
        below = leaves(value)
        if below is None:
            found[key] = value
        else:
            found.update({f"{key}.{rest}": leaf for rest, leaf in below.items()})
    return found


def _parts(text: str) -> Iterator[str]:
    """What lies between the commas; those of branches and lists within do not count."""
    part, depth = "", 0
    for match in _TOKEN.finditer(text):
        token = match[0]
        depth += (token in "{[") - (token in "}]")
        if token == "," and not depth:
            yield part
            part = ""
        else:
            part += token
    if part or text:
        yield part
