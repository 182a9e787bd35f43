"""A rollout for verl by Hugging Face generate: one Ray actor that writes, and takes new weights after each step."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import ray
import torch
from transformers import AutoModelForCausalLM
from verl.workers.rollout.base import BaseRollout
from verl.workers.rollout.replica import RolloutReplica, TokenOutput

ACTOR = "hf_generate_server"
GATHER_SECONDS = 0.03
"""How long a batch waits for more prompts to come."""
LARGEST_BATCH = 256

Sampling = tuple[float, float, int]
"""Temperature, top_p and top_k."""


@dataclass(slots=True)
class Prompt:
    """A prompt that waits to be continued."""

    tokens: list[int]
    sampling: Sampling
    max_tokens: int
    written: asyncio.Future[tuple[list[int], list[float]]]


class Server:
    """Continues prompts in batches. verl calls it as it calls its vLLM server."""

    def __init__(self, model: str, response_length: int) -> None:
        torch.set_num_threads(1)
        self._model = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32).eval()
        self._end: int = self._model.generation_config.eos_token_id
        self._padding: int = self._model.generation_config.pad_token_id
        self._response_length = response_length
        self._waiting: list[Prompt] = []
        self._lock = asyncio.Lock()
        self._step = 0

    async def generate(
        self, request_id: str, *, prompt_ids: Iterable[int], sampling_params: dict[str, Any], **_kwargs: Any
    ) -> TokenOutput:
        """The continuation of one prompt, with the log probability of each of its tokens."""
        wanted = sampling_params.get("max_tokens") or self._response_length
        prompt = Prompt(
            list(prompt_ids),
            (
                float(sampling_params.get("temperature", 1.0)),
                float(sampling_params.get("top_p", 1.0)),
                max(0, int(sampling_params.get("top_k", 0))),
            ),
            min(int(wanted), self._response_length),
            asyncio.get_running_loop().create_future(),
        )
        self._waiting.append(prompt)
        async with self._lock:  # whoever comes in first answers all that wait
            if not prompt.written.done():
                await asyncio.sleep(GATHER_SECONDS)
                await self._answer_like(prompt)
        tokens, logprobs = await prompt.written
        return TokenOutput(
            token_ids=tokens,
            log_probs=logprobs if sampling_params.get("logprobs") else None,
            stop_reason="completed" if tokens and tokens[-1] == self._end else "length",
            num_preempted=0,
            extra_fields={"global_steps": self._step},
        )

    async def update_weights(self, weights: dict[str, torch.Tensor], step: int | None) -> None:
        """Write with these from now on."""
        async with self._lock:
            missing, unknown = self._model.load_state_dict(weights, strict=False)
            # The output's weights are the input's, and are not sent twice.
            if unknown or set(missing) - {"lm_head.weight"}:
                raise RuntimeError(f"the weights do not fit: {missing} are missing, {unknown} are unknown")
            self._step = step or 0

    async def nothing(self, *_args: Any, **_kwargs: Any) -> None:
        """What verl asks of a server that has memory to give back, or generation to interrupt."""

    sleep = wake_up = abort_all_requests = resume_generation = clear_kv_cache = nothing
    release_kv_cache = resume_kv_cache = start_profile = stop_profile = nothing

    async def _answer_like(self, first: Prompt) -> None:
        """Answer `first` and all that wait with its sampling, as one batch."""
        others = [p for p in self._waiting if p.sampling == first.sampling and p is not first]
        batch = [first, *others[: LARGEST_BATCH - 1]]
        self._waiting = [p for p in self._waiting if not any(p is taken for taken in batch)]
        try:
            written = await asyncio.to_thread(self._write, batch)
        except Exception as error:
            for prompt in batch:
                prompt.written.set_exception(error)
            return
        for prompt, answer in zip(batch, written, strict=True):
            prompt.written.set_result(answer)

    def _write(self, batch: list[Prompt]) -> list[tuple[list[int], list[float]]]:
        longest = max(len(prompt.tokens) for prompt in batch)
        read = torch.full((len(batch), longest), self._padding)
        mask = torch.zeros_like(read)
        for row, prompt in enumerate(batch):
            read[row, longest - len(prompt.tokens) :] = torch.tensor(prompt.tokens)
            mask[row, longest - len(prompt.tokens) :] = 1
        temperature, top_p, top_k = batch[0].sampling
        how = {"do_sample": True, "temperature": temperature, "top_p": top_p, "top_k": top_k}
        with torch.no_grad():
            both = self._model.generate(
                read,
                attention_mask=mask,
                max_new_tokens=max(prompt.max_tokens for prompt in batch),
                **(how if temperature else {"do_sample": False}),
            )
            new = both[:, longest:]
            mask = torch.cat([mask, torch.ones_like(new)], 1)
            places = (mask.cumsum(-1) - 1).clamp(min=0)
            logits = self._model(both, attention_mask=mask, position_ids=places).logits[:, longest - 1 : -1]
        logprobs = torch.log_softmax(logits / (temperature or 1.0), -1).gather(-1, new[..., None])[..., 0]
        return [
            self._cut(tokens[: p.max_tokens], probs)
            for p, tokens, probs in zip(batch, new.tolist(), logprobs.tolist(), strict=True)
        ]

    def _cut(self, tokens: list[int], logprobs: list[float]) -> tuple[list[int], list[float]]:
        """Up to the token that ends a reply."""
        length = tokens.index(self._end) + 1 if self._end in tokens else len(tokens)
        return tokens[:length], logprobs[:length]


class Replica(RolloutReplica):  # type: ignore[misc]  # verl is not there to be looked at
    """Starts the server."""

    async def launch_servers(self) -> None:
        """As verl wants it: one actor, and an address that nobody connects to."""
        actor = ray.remote(Server).options(name=ACTOR, num_cpus=1, max_concurrency=self.max_concurrency)
        self._server_handle = actor.remote(self.model_config.path, self.config.response_length)
        self._server_address = ACTOR
        self.servers = [self._server_handle]
        await self._server_handle.nothing.remote()


class WeightSender(BaseRollout):  # type: ignore[misc]  # verl is not there to be looked at
    """Lives in the trainer's worker, and brings the server its weights after each step."""

    sleep_level = 2  # verl reads it of its own adapters

    async def resume(self, tags: list[str]) -> None:
        """Nothing: the server never sleeps."""

    async def release(self) -> None:
        """Nothing."""

    async def update_weights(
        self, weights: Any, wire_format: str = "named_tensors", global_steps: int | None = None, **_kwargs: Any
    ) -> None:
        """Send them."""
        if wire_format != "named_tensors":
            raise NotImplementedError(wire_format)
        taken = {name: tensor.detach().to("cpu", torch.float32).clone() for name, tensor in weights}
        await ray.get_actor(ACTOR).update_weights.remote(taken, global_steps)
