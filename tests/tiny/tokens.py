"""The tokenizer of the tiny models: byte-level, digits alone, and each fixed piece of the judge's prompt one token.

So the judge reads our prompt of 900 characters as about 25 tokens. The pieces are not written down here: genrm renders
a prompt, and what is not the problem or the solution in it are the pieces.
"""

from __future__ import annotations

import re
from itertools import islice
from random import Random
from typing import Any

from genrm.neutralise import Neutraliser
from genrm.prompts import Message, load_template
from tiny import domain

CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
END = "<|im_end|>"
_PLACES = ("PROBLEM-GOES-HERE", "SOLUTION-GOES-HERE")
_VOCABULARY = 600


def judge_messages(problem: str, solution: str, reminder: str = "") -> list[Message]:
    """The chat messages that genrm sends to the judge."""
    return load_template().messages(Neutraliser(), problem, solution, reminder=reminder)


def fixed_pieces() -> list[str]:
    """The parts of a judge's prompt that are the same for every problem and solution."""
    (message,) = judge_messages(*_PLACES)
    return re.split("|".join(_PLACES), message["content"])


def tokenizer() -> Any:
    """A PreTrainedTokenizerFast, the same each time."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    raw.decoder = decoders.ByteLevel()
    raw.train_from_iterator(
        _texts(),
        trainers.BpeTrainer(
            vocab_size=_VOCABULARY,
            min_frequency=20,
            initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
            show_progress=False,
        ),
    )
    raw.add_tokens([AddedToken(piece, normalized=False) for piece in fixed_pieces()])
    made = PreTrainedTokenizerFast(
        tokenizer_object=raw,
        eos_token=END,
        pad_token="<|endoftext|>",
        additional_special_tokens=["<|im_start|>"],
        clean_up_tokenization_spaces=False,
        padding_side="left",
    )
    made.chat_template = CHAT_TEMPLATE
    return made


def chat(tokenizer: Any, messages: list[Message]) -> str:
    """The messages as the model reads them, up to where its reply begins."""
    text: str = tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
    return text


def _texts() -> list[str]:
    """What the models read and write, for the tokenizer to learn its words from."""
    cases = list(islice(domain.training_cases(Random(0)), 2000))
    return [text for case in cases for text in (case.problem.text, case.solution, case.reply, "user\nassistant\n")]
