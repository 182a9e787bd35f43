"""The tiny models: a Qwen2 of 0.4 million weights, how it is trained and how it writes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tiny.tokens import END

LAYERS = 2
HIDDEN = 128
HEAD_DIM = 64
"""vLLM's attention on CPU knows 64; it dies at the first forward pass with smaller ones."""
CONTEXT = 2048
THREADS = 2
BATCH = 64
_IGNORED = -100
_WARM_UP = 50

Progress = Callable[[int, float], None]
"""Told the step and its loss."""


@dataclass(frozen=True, slots=True)
class Lesson:
    """A prompt, as the model reads it, and the reply that it is to learn."""

    prompt: str
    reply: str


def new_model(tokenizer: Any, seed: int) -> Any:
    """A Qwen2ForCausalLM with random weights."""
    import torch
    from transformers import Qwen2Config, Qwen2ForCausalLM

    torch.manual_seed(seed)
    config = Qwen2Config(
        vocab_size=-(-len(tokenizer) // 64) * 64,
        hidden_size=HIDDEN,
        intermediate_size=2 * HIDDEN,
        num_hidden_layers=LAYERS,
        num_attention_heads=HIDDEN // HEAD_DIM,
        num_key_value_heads=HIDDEN // HEAD_DIM,
        max_position_embeddings=CONTEXT,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return Qwen2ForCausalLM(config)


def train(
    model: Any,
    tokenizer: Any,
    lessons: Sequence[Lesson],
    *,
    steps: int,
    rate: float,
    seed: int,
    progress: Progress,
    decay: bool = True,
) -> None:
    """Teach the lessons, in random batches with replacement; the same weights come out each time.

    Args:
        steps: of 64 lessons each.
        rate: the learning rate, reached after 50 steps; with `decay` it falls to a twentieth in the end.
    """
    import torch

    torch.set_num_threads(THREADS)
    torch.set_flush_denormal(True)  # gradients become tiny, and such numbers are slow
    tokens, targets, lengths = _tensors(tokenizer, lessons)
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, betas=(0.9, 0.98), weight_decay=0.05)
    model.train()
    for step in range(1, steps + 1):
        chosen = torch.randint(len(lessons), (BATCH,), generator=generator)
        longest = int(lengths[chosen].max())
        for group in optimizer.param_groups:
            group["lr"] = rate * min(1.0, step / _WARM_UP) * (max(0.05, 1 - step / steps) if decay else 1.0)
        # Padded on the right and causal, so no mask is needed; logits only where a target is.
        hidden = model.model(input_ids=tokens[chosen, :longest]).last_hidden_state[:, :-1]
        wanted = targets[chosen, 1:longest]
        told = wanted != _IGNORED
        loss = torch.nn.functional.cross_entropy(model.lm_head(hidden[told]), wanted[told])
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        progress(step, loss.item())
    model.eval()


def write(
    model: Any, tokenizer: Any, prompts: Sequence[str], max_tokens: int, temperature: float = 0.0, seed: int = 0
) -> list[str]:
    """What the model writes to each prompt: greedily, or sampled at a temperature above 0."""
    import torch

    sampling = {"do_sample": True, "temperature": temperature, "top_k": 0, "top_p": 1.0} if temperature else {}
    torch.manual_seed(seed)
    replies: list[str] = []
    with torch.no_grad():
        for start in range(0, len(prompts), 256):
            read = tokenizer(
                prompts[start : start + 256],
                return_tensors="pt",
                padding=True,
                add_special_tokens=False,
                return_token_type_ids=False,
            )
            written = model.generate(**read, max_new_tokens=max_tokens, **({"do_sample": False} | sampling))
            new = written[:, read["input_ids"].shape[1] :]
            replies += tokenizer.batch_decode(new, skip_special_tokens=True)
    return replies


def save(model: Any, tokenizer: Any, folder: Path) -> None:
    """Write both as Hugging Face and vLLM load them."""
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def load(folder: Path) -> tuple[Any, Any]:
    """Model and tokenizer out of a folder, ready to write."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    torch.set_num_threads(THREADS)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    return model, AutoTokenizer.from_pretrained(folder, padding_side="left")


def _tensors(tokenizer: Any, lessons: Sequence[Lesson]) -> tuple[Any, Any, Any]:
    """Tokens, targets (the reply's alone) and lengths of all lessons."""
    import torch

    def ids(texts: list[str]) -> list[list[int]]:
        found: list[list[int]] = tokenizer(texts, add_special_tokens=False)["input_ids"]
        return found

    prompts = ids([lesson.prompt for lesson in lessons])
    replies = ids([lesson.reply + END for lesson in lessons])
    lengths = torch.tensor([len(prompt) + len(reply) for prompt, reply in zip(prompts, replies, strict=True)])
    tokens = torch.full((len(lessons), int(lengths.max())), tokenizer.pad_token_id)
    targets = torch.full_like(tokens, _IGNORED)
    for row, (prompt, reply) in enumerate(zip(prompts, replies, strict=True)):
        end = len(prompt) + len(reply)
        tokens[row, :end] = torch.tensor(prompt + reply)
        targets[row, len(prompt) : end] = torch.tensor(reply)
    return tokens, targets, lengths
