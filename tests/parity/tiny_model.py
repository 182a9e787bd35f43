"""Make the model that the real server serves: a small random Qwen2 with a byte-level tokenizer.

    python tiny_model.py FOLDER [--layers N] [--printable]

Run by the Python that the server is installed for; imports nothing of this project. The tokenizer is the one that the
mock server counts with: 256 bytes in GPT-2's alphabet, three special tokens, no merges. The weights are noise: what the
server says does not matter here, only how it behaves. With --printable its likeliest tokens are letters and signs of
ASCII: halves of characters are held back, and a stream would stand still.
"""

# mypy: ignore-errors
# torch, transformers and tokenizers are installed for the real server only.

from __future__ import annotations

import argparse
from pathlib import Path

CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
HEAD_DIM = 64
"""vLLM's attention on CPU knows 64; it dies at the first forward pass with smaller ones."""
HEADS = 2
LAYERS = 24
"""For vLLM: with two, a token takes a millisecond, and its API process is busy with tokens and answers nothing else."""
VOCABULARY = 320
"""A little more than the tokenizer's 259: sizes of matrices like multiples of 64."""
PRINTABLE = 94
"""GPT-2's alphabet begins with the printable characters of ASCII."""


def byte_level_tokenizer():
    """A tokenizer for which one byte is one token."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    raw = Tokenizer(models.BPE(vocab={letter: number for number, letter in enumerate(alphabet)}, merges=[]))
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=raw,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        additional_special_tokens=["<|im_start|>"],
    )
    tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer


def make(folder: Path, layers: int, printable: bool) -> None:
    """Write model and tokenizer to `folder`: the same bytes each time."""
    import torch
    from transformers import Qwen2Config, Qwen2ForCausalLM

    tokenizer = byte_level_tokenizer()
    torch.manual_seed(0)
    config = Qwen2Config(
        vocab_size=VOCABULARY,
        hidden_size=HEADS * HEAD_DIM,
        intermediate_size=128,
        num_hidden_layers=layers,
        num_attention_heads=HEADS,
        num_key_value_heads=1,
        max_position_embeddings=4096,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    model = Qwen2ForCausalLM(config)
    if printable:
        with torch.no_grad():
            model.lm_head.weight[PRINTABLE:] = 0
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--layers", type=int, default=LAYERS)
    parser.add_argument("--printable", action="store_true")
    make(**vars(parser.parse_args()))
