"""A policy small enough to be trained by GRPO on a CPU while one waits: one layer, and a digit is a word."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM
from trl import GRPOConfig

DIGITS = 4
"""Length of a solution, in words."""
GROUP = 8
"""Solutions of a problem."""
PROBLEMS = [f"{a} plus {b}" for a in range(4) for b in range(4)]

_WORDS = ["<pad>", "<end>", "plus", *map(str, range(10))]


def tokenizer() -> PreTrainedTokenizerFast:
    """A word is a token."""
    raw = Tokenizer(models.WordLevel({word: number for number, word in enumerate(_WORDS)}, unk_token="<pad>"))
    raw.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    made = PreTrainedTokenizerFast(tokenizer_object=raw, eos_token="<end>", pad_token="<pad>")
    made.chat_template = "{% for message in messages %}{{ message.content }} {% endfor %}"
    return made


def policy() -> Qwen2ForCausalLM:
    """A model that says random digits, the same each time it is made."""
    torch.manual_seed(0)
    config = Qwen2Config(
        vocab_size=len(_WORDS),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=64,
        bos_token_id=None,
        eos_token_id=1,
        pad_token_id=0,
    )
    return Qwen2ForCausalLM(config)


def data_set(*, conversations: bool) -> Dataset:
    """The problems, as plain texts or as conversations."""

    def prompt(problem: str) -> Any:
        return [{"role": "user", "content": problem}] if conversations else problem

    return Dataset.from_list([{"prompt": prompt(problem), "answer": "none"} for problem in PROBLEMS])


def config(folder: Path, steps: int) -> GRPOConfig:
    """Two problems a step."""
    return GRPOConfig(
        output_dir=str(folder),
        use_cpu=True,
        bf16=False,
        per_device_train_batch_size=2 * GROUP,
        num_generations=GROUP,
        max_completion_length=DIGITS,
        max_steps=steps,
        learning_rate=1e-2,
        lr_scheduler_type="constant",
        beta=0.0,
        logging_steps=1,
        save_strategy="no",
        report_to=[],
        disable_tqdm=True,
        seed=0,
    )
