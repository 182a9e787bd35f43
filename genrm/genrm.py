"""A GenRM of one's own: what it is asked, how its reply is read, and what that pays.

    compute_score = GenRM(prompt=PROMPT, parse=parse, reward=reward).compute_score

in a file that verl is given by `reward.custom_reward_function.path`. Settings, retries, offload and the record are as
with `genrm.reward_function`, which is the GenRM that is asked for True or False in a box.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import anyio

from genrm.errors import SettingsError
from genrm.judge import Judge
from genrm.prompts import Template, load_template
from genrm.rewards import Record, Reward, plain_reward, reward_by_judge, reward_by_rule
from genrm.samples import Sample
from genrm.settings import PREFIX, Settings, overrides_in
from genrm.verdicts import parse_verdict, reader_of


@dataclass(frozen=True)
class GenRM:
    """The reward by one kind of judge.

    Attributes:
        prompt: a text with {problem} and {solution}, perhaps {reference}; "" for the one that the settings name.
        parse: a reply's answer (without its thinking) -> True, False, a number from 0 to 1, or None where it holds no
            verdict; then the judge is asked again. None: True or False in a box, by `genrm.parse_verdict`.
        reward: what was parsed, and the sample -> the reward.

    Raises:
        TemplateError: the prompt cannot serve.
    """

    prompt: str = ""
    parse: Callable[[str], float | None] | None = None
    reward: Reward = plain_reward
    # Judges by what they were made from, each with the tokenizer it knows, so that no other object gets that one's id.
    _judges: dict[tuple[Any, ...], tuple[Judge, Any]] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    def __post_init__(self) -> None:
        if self.prompt:
            self._own_template(include_reference="{reference}" in self.prompt)

    def __reduce__(self) -> tuple[type[GenRM], tuple[Any, ...]]:
        return GenRM, (self.prompt, self.parse, self.reward)  # its judges stay here: they have connections

    async def compute_score(
        self,
        data_source: Any,
        solution_str: str,
        ground_truth: Any,
        extra_info: Any = None,
        reward_router_address: str | None = None,
        reward_model_tokenizer: Any = None,
        **kwargs: Any,
    ) -> Record:
        """The reward of one rollout: see `genrm.reward_function.compute_score`."""
        judge = self.judge_for(kwargs, reward_router_address, reward_model_tokenizer)
        counts = True
        try:
            sample = Sample.from_verl(data_source, solution_str, ground_truth, extra_info)
            counts = not sample.is_validation
            if sample.is_validation and judge.settings.validation == "rule":
                return await reward_by_rule(sample)
            return await reward_by_judge(sample, await judge.judge(sample), judge.settings, self.reward)
        finally:
            if counts:
                await judge.scored()  # whatever became of it: the batch has one less to come

    async def score_rows(self, rows: Sequence[tuple[Any, ...]], kwargs: Mapping[str, Any]) -> list[Record]:
        """The rewards of many rollouts, in their order.

        Args:
            rows: the positional arguments of `compute_score`, for each rollout.
            kwargs: its keyword arguments, the same for all.

        Raises:
            As `compute_score`, for the first row in order that failed, after all the others were scored.
        """
        outcomes: dict[int, Record | Exception] = {}

        async def score(index: int, row: tuple[Any, ...]) -> None:
            try:
                outcomes[index] = await self.compute_score(*row, **kwargs)
            except Exception as error:
                outcomes[index] = error

        async with anyio.create_task_group() as tasks:
            for index, row in enumerate(rows):
                tasks.start_soon(score, index, row)
        records = []
        for index in range(len(rows)):
            outcome = outcomes[index]
            if isinstance(outcome, Exception):
                raise outcome
            records.append(outcome)
        return records

    def judge_for(self, kwargs: Mapping[str, Any], router_address: str | None = None, tokenizer: Any = None) -> Judge:
        """The judge of these settings and of the variables as they are now: always the same one.

        Raises:
            SettingsError, TemplateError: a setting is wrong.
        """
        # The environment is a part of the key: a notebook that changes it must not be answered by its old settings.
        environment = tuple(item for item in os.environ.items() if item[0].startswith(PREFIX))
        key = (environment, repr(sorted(kwargs.items())), router_address, id(tokenizer))
        if key not in self._judges:
            judge = self._made(overrides_in(kwargs), router_address, tokenizer)
            # Another thread may have been quicker: one judge for all, so that each loop is one user of its memory.
            self._judges.setdefault(key, (judge, tokenizer))
        return self._judges[key][0]

    def _made(self, overrides: dict[str, Any], router_address: str | None, tokenizer: Any) -> Judge:
        if router_address:
            overrides["base_url"] = router_address
        settings = Settings.load(**overrides)
        if router_address and settings.use_offload:
            raise SettingsError(
                "GENRM_USE_OFFLOAD was true, but verl serves this judge itself (reward.reward_model) and lets it sleep "
                "itself; set it to false"
            )
        if self.prompt and settings.prompt_template:
            raise SettingsError("GENRM_PROMPT_TEMPLATE was set, but this GenRM has a prompt of its own; unset it")
        special_tokens = getattr(tokenizer, "all_special_tokens", None) or ()
        read = reader_of(self.parse) if self.parse else parse_verdict
        template = self._own_template(settings.include_reference) if self.prompt else None
        return Judge(settings, special_tokens, template=template, read=read)

    def _own_template(self, include_reference: bool) -> Template:
        return load_template(self.prompt, include_reference, asks_for_box=self.parse is None)
