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
from anyio.from_thread import start_blocking_portal

from genrm.blocking import run_blocking
from genrm.errors import SampleError, SettingsError
from genrm.judge import Judge
from genrm.own_functions import OwnFunction
from genrm.prompts import load_template
from genrm.rewards import Record, plain_reward, reward_by_judge, reward_by_rule
from genrm.samples import Sample
from genrm.setting_values import revealed
from genrm.settings import PREFIX, Settings, overrides_in, warn_of_unknown_variables
from genrm.verdicts import parse_verdict, reader_of


@dataclass(frozen=True)
class GenRM:
    """The reward by one kind of judge.

    Attributes:
        prompt: a text with {problem} and {solution}, perhaps {reference}; "" for the one that the settings name.
        parse: a reply's answer (without its thinking) -> True, False, a number from 0 to 1, or None where it holds no
            verdict; then the judge is asked again. None: True or False in a box, by `genrm.parse_verdict`.
        reward: what was parsed, and the sample -> the reward, any finite number. What fails, or gives none, leaves the
            sample without a verdict.
        markers: words that the parser looks for, such as "Mark:". In a solution they are broken up, as the box is: it
            must not say what only the judge may say.

    Parser and reward are called on the event loop, so they must be quick.

    Raises:
        SettingsError, TemplateError: the prompt cannot serve, parser or reward are async, or a GENRM_* variable is
            wrong.
    """

    prompt: str = ""
    parse: Callable[[str], float | None] | None = None
    reward: Callable[[float, Sample], float] = plain_reward
    markers: tuple[str, ...] = ()
    _pay: OwnFunction = field(init=False, repr=False, compare=False)
    # Judges by what they were made from, each with the tokenizer it knows, so that no other object gets that one's id.
    _judges: dict[tuple[Any, ...], tuple[Judge, Any]] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    def __post_init__(self) -> None:
        object.__setattr__(self, "_pay", OwnFunction(self.reward))
        # A wrong setting stops the run here, when verl loads the function, rather than at its first reward: there
        # verl's trainer drops the sample and goes on.
        self.judge_for({})
        warn_of_unknown_variables()

    def __reduce__(self) -> tuple[type[GenRM], tuple[Any, ...]]:
        # Its judges stay here: they have connections.
        return GenRM, (self.prompt, self.parse, self.reward, self.markers)

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
        """The reward of one rollout.

        Args:
            data_source: the data set's name.
            solution_str: what the policy wrote.
            ground_truth: the data set's answer; for rules, and for the judge with INCLUDE_REFERENCE.
            extra_info: holds the problem as "question" (else "problem", "prompt"), and the "split" if there is one.
            reward_router_address: host:port of the reward model that verl serves itself; goes before BASE_URL.
            reward_model_tokenizer: that model's tokenizer; its special tokens are neutralised in the solution.
            **kwargs: settings, by their names.

        Returns:
            The record of `genrm.rewards`: always the same keys, plain numbers, the reward as "score".

        Raises:
            SettingsError, TemplateError: a setting is wrong.
            SampleError: there is no problem to judge the solution by.
            NoVerdictError: the judge gave no verdict, and GENRM_ON_NO_VERDICT=raise.
            OffloadError: with USE_OFFLOAD, the judge cannot be woken, or is awake and answers garbage.
        """
        judge = self.judge_for(kwargs, reward_router_address, reward_model_tokenizer)
        counts = True
        try:
            sample = Sample.from_verl(data_source, solution_str, ground_truth, extra_info)
            counts = not sample.is_validation
            if sample.is_validation and judge.settings.validation == "rule":
                return await reward_by_rule(sample)
            return await reward_by_judge(sample, await judge.judge(sample), judge.settings, self._pay)
        finally:
            if counts:
                await judge.scored()  # whatever became of it: the batch has one less to come

    def compute_score_sync(self, *args: Any, **kwargs: Any) -> Record:
        """`compute_score` for callers that cannot await it. Blocks; any number of threads may call it at once."""
        return run_blocking(self.compute_score, *args, **kwargs)

    def compute_score_batch(
        self,
        data_sources: Sequence[Any],
        solution_strs: Sequence[str],
        ground_truths: Sequence[Any],
        extra_infos: Sequence[Any] | None = None,
        **kwargs: Any,
    ) -> list[Record]:
        """The rewards of many rollouts, in their order. Blocks; may be called where an event loop is running, too.

        Args:
            data_sources, solution_strs, ground_truths, extra_infos: of equal length, as for `compute_score`.
            **kwargs: as for `compute_score`.

        Raises:
            SampleError: the lengths differ; else as `compute_score`, for the first sample in order that failed, after
                all the others were scored.
        """
        if extra_infos is None:
            extra_infos = [None] * len(solution_strs)
        columns = (data_sources, solution_strs, ground_truths, extra_infos)
        if len({len(column) for column in columns}) > 1:
            raise SampleError(
                f"the columns of a batch differ in length: {', '.join(str(len(column)) for column in columns)}"
            )
        settings = dict(kwargs)
        router, tokenizer = settings.pop("reward_router_address", None), settings.pop("reward_model_tokenizer", None)
        self.judge_for(settings, router, tokenizer)  # a wrong setting fails before anything is asked
        # A thread with a loop of its own: the caller's may be running, and asyncio allows one a thread.
        with start_blocking_portal() as portal:
            return portal.call(self.score_rows, list(zip(*columns, strict=True)), kwargs)

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
        given = repr(sorted((name, revealed(value)) for name, value in kwargs.items()))
        key = (environment, given, router_address, id(tokenizer))
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
        unsaid = (*self.markers, *(getattr(tokenizer, "all_special_tokens", None) or ()))
        read = reader_of(self.parse) if self.parse else parse_verdict
        template = load_template(
            self.prompt or settings.prompt_template,
            settings.include_reference,
            asks_for_box=self.parse is None or not self.prompt,
        )
        return Judge(settings, unsaid, template=template, read=read)
