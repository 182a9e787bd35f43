"""The door that verl knocks on.

::

    reward.custom_reward_function.path=pkg://genrm.reward_function
    reward.custom_reward_function.name=compute_score

`compute_score` is for the managers that score sample by sample (naive, dapo, gdpo, rate_limited),
`compute_score_sync` for the one that takes no async function (remote), `compute_score_batch` for the older batch
manager and for anybody's own loop. Settings: see genrm.settings.
"""

# Absolute imports only: given by path, verl runs this file as a module without a package.
from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import anyio
from anyio.from_thread import start_blocking_portal

from genrm.blocking import run_blocking
from genrm.errors import SampleError, SettingsError
from genrm.judge import Judge
from genrm.prompts import load_template
from genrm.rewards import Record, reward_by_judge, reward_by_rule
from genrm.samples import Sample
from genrm.settings import PREFIX, Settings, overrides_in, warn_of_unknown_variables

__all__ = ["compute_score", "compute_score_batch", "compute_score_sync"]


async def compute_score(
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
    judge = judge_for(kwargs, reward_router_address, reward_model_tokenizer)
    counts = True
    try:
        sample = Sample.from_verl(data_source, solution_str, ground_truth, extra_info)
        counts = not sample.is_validation
        return await _score(judge, sample)
    finally:
        if counts:
            await judge.scored()  # whatever became of it: the batch has one less to come


async def _score(judge: Judge, sample: Sample) -> Record:
    if sample.is_validation and judge.settings.validation == "rule":
        return await reward_by_rule(sample)
    return await reward_by_judge(sample, await judge.judge(sample), judge.settings)


def compute_score_sync(*args: Any, **kwargs: Any) -> Record:
    """`compute_score` for callers that cannot await it. Blocks; any number of threads may call it at once."""
    return run_blocking(compute_score, *args, **kwargs)


def compute_score_batch(
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
        SampleError: the lengths differ; else as `compute_score`, for the first sample in order that failed, after all
            the others were scored.
    """
    if extra_infos is None:
        extra_infos = [None] * len(solution_strs)
    columns = (data_sources, solution_strs, ground_truths, extra_infos)
    if len({len(column) for column in columns}) > 1:
        raise SampleError(
            f"the columns of a batch differ in length: {', '.join(str(len(column)) for column in columns)}"
        )
    judge_for(*_split(kwargs))  # a wrong setting fails before anything is asked
    # A thread with a loop of its own: the caller's may be running, and asyncio allows one a thread.
    with start_blocking_portal() as portal:
        return portal.call(score_rows, list(zip(*columns, strict=True)), kwargs)


async def score_rows(rows: Sequence[tuple[Any, ...]], kwargs: Mapping[str, Any]) -> list[Record]:
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
            outcomes[index] = await compute_score(*row, **kwargs)
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


def _split(kwargs: dict[str, Any]) -> tuple[dict[str, Any], str | None, Any]:
    settings = dict(kwargs)
    return settings, settings.pop("reward_router_address", None), settings.pop("reward_model_tokenizer", None)


# Judges by what they were made from, each with the tokenizer it knows, so that no other object gets that one's id.
_judges: dict[tuple[Any, ...], tuple[Judge, Any]] = {}


def judge_for(kwargs: Mapping[str, Any], router_address: str | None = None, tokenizer: Any = None) -> Judge:
    """The judge of these settings and of the variables as they are now: always the same one."""
    # The environment is a part of the key: a notebook that changes it must not be answered by its old settings.
    environment = tuple(item for item in os.environ.items() if item[0].startswith(PREFIX))
    key = (environment, repr(sorted(kwargs.items())), router_address, id(tokenizer))
    if key not in _judges:
        overrides = overrides_in(kwargs)
        if router_address:
            overrides["base_url"] = router_address
        settings = Settings.load(**overrides)
        if router_address and settings.use_offload:
            raise SettingsError(
                "GENRM_USE_OFFLOAD was true, but verl serves this judge itself (reward.reward_model) and lets it sleep "
                "itself; set it to false"
            )
        special_tokens = getattr(tokenizer, "all_special_tokens", None) or ()
        # Another thread may have been quicker: one judge for all, so that each loop is one user of its memory.
        _judges.setdefault(key, (Judge(settings, special_tokens), tokenizer))
    return _judges[key][0]


# A wrong environment stops the run here, when verl loads the function, rather than at its first reward: there verl's
# trainer drops the sample and goes on.
_at_start = Settings.load()
load_template(_at_start.prompt_template, _at_start.include_reference)
warn_of_unknown_variables()
