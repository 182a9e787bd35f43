r"""Problem and solution -> the messages that ask the judge.

A template is a text with the fields ``{problem}`` and ``{solution}`` and, if the judge may see it, ``{reference}``.
All other braces are plain text, so ``\frac{1}{2}`` needs no care, and what is filled in is never read as a template.
``{{}}``, as templates for `str.format` write it, is read as ``{}``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path

from genrm.errors import TemplateError
from genrm.neutralise import Neutraliser
from genrm.verdicts import Reason

FIELDS = ("problem", "solution", "reference")
_FIELD = re.compile(rf"\{{({'|'.join(FIELDS)})\}}")
# A name in braces that no macro or other brace leads up to was meant as a field: "\boxed{answer}" was not.
_FIELD_LIKE = re.compile(r"(?<![\\\w{}^_$])\{([a-z_]{2,})\}")

Message = dict[str, str]

_WRITE_THE_BOX_LAST = (
    "end your reply with one line that holds nothing but your final verdict, True or False, in \\boxed{}."
)
_END_AS_TOLD = "end your reply exactly as you were told to above."
_UNREADABLE = "could not be read as a verdict. Be brief, and"
_REMINDERS = {
    Reason.OK: "",
    Reason.TRUNCATED: "was cut off because it was too long. Keep the critique to a few sentences, and",
    # Nothing was wrong with how it was asked: the request was cut short on the server.
    Reason.ABORTED: "",
    Reason.UNFINISHED: "",
}


@dataclass(frozen=True)
class Template:
    """A checked prompt template.

    Attributes:
        text: the template.
        origin: where it came from, for messages.
        asks_for_box: whether it must ask for True or False in a box; else what it asks for is its own matter.
    """

    text: str
    origin: str
    asks_for_box: bool = True

    def __post_init__(self) -> None:
        for name in ("problem", "solution"):
            if f"{{{name}}}" not in self.text:
                raise TemplateError(f"{self.origin}: the field {{{name}}} is missing")
        strange = sorted({match[1] for match in _FIELD_LIKE.finditer(self.text)} - set(FIELDS))
        if strange:
            raise TemplateError(f"{self.origin}: no such field: {', '.join(strange)}; there are {', '.join(FIELDS)}")
        if self.asks_for_box and "\\boxed" not in self.text[self.text.rindex("{solution}") :]:
            raise TemplateError(
                f"{self.origin}: after the solution it must ask for the verdict, True or False, in \\boxed{{}} "
                "(before it, the solution would have the last word)"
            )

    @property
    def shows_reference(self) -> bool:
        """Whether the judge sees the ground truth."""
        return "{reference}" in self.text

    def reminder_after(self, reason: Reason, attempt: int) -> str:
        """What to add to the prompt for the `attempt`-th request when the last reply held no verdict; "" for nothing.

        At temperature 0 the same prompt gets the same reply, so each attempt's prompt is another one.
        """
        what = _REMINDERS.get(reason, _UNREADABLE)
        ending = _WRITE_THE_BOX_LAST if self.asks_for_box else _END_AS_TOLD
        return f"This is attempt {attempt}. Your last reply {what} {ending}" if what else ""

    def messages(
        self, neutraliser: Neutraliser, problem: str, solution: str, reference: str = "", reminder: str = ""
    ) -> list[Message]:
        """The chat messages that ask for a verdict: one user turn, its instruction last."""
        values = {
            "problem": neutraliser.neutralise(problem),
            "solution": neutraliser.neutralise(solution),
            "reference": neutraliser.neutralise(reference) or "(none given)",
        }
        content = _FIELD.sub(lambda match: values[match[1]], self.text)
        return [{"role": "user", "content": f"{content}\n\n{reminder}" if reminder else content}]


@cache
def load_template(source: str = "", include_reference: bool = False, asks_for_box: bool = True) -> Template:
    """The template that the settings name.

    Args:
        source: a file's path, a template itself (it holds a field or a line break), or "" for the built-in one.
        include_reference: whether the judge is to see the ground truth.
        asks_for_box: as of `Template`.

    Raises:
        TemplateError: it cannot be read, or cannot serve.
    """
    template = _custom(source, asks_for_box) if source else _built_in(include_reference)
    if include_reference and not template.shows_reference:
        raise TemplateError(f"{template.origin}: INCLUDE_REFERENCE is set, but the field {{reference}} is missing")
    return template


def _built_in(include_reference: bool) -> Template:
    name = "judge_with_reference.txt" if include_reference else "judge.txt"
    text = (resources.files("genrm") / "templates" / name).read_text(encoding="utf-8")
    return Template(text.strip(), f"the built-in template {name}")


def _custom(source: str, asks_for_box: bool) -> Template:
    if _FIELD.search(source) or "\n" in source:
        text, origin = source, "PROMPT_TEMPLATE"
    else:
        try:
            text, origin = Path(source).expanduser().read_text(encoding="utf-8"), f"PROMPT_TEMPLATE {source}"
        except (OSError, UnicodeDecodeError) as error:
            raise TemplateError(f"PROMPT_TEMPLATE {source} cannot be read: {error}") from None
    return Template(text.replace("{{}}", "{}").strip(), origin, asks_for_box)
