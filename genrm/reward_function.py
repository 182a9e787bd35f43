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

from collections.abc import Sequence
from typing import Any

from anyio.from_thread import start_blocking_portal

from genrm.blocking import run_blocking
from genrm.errors import SampleError
from genrm.genrm import GenRM
from genrm.prompts import load_template
from genrm.rewards import Record
from genrm.settings import Settings, warn_of_unknown_variables

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
    return await _genrm.compute_score(
        data_source, solution_str, ground_truth, extra_info, reward_router_address, reward_model_tokenizer, **kwargs
    )


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
    _genrm.judge_for(*_split(kwargs))  # a wrong setting fails before anything is asked
    # A thread with a loop of its own: the caller's may be running, and asyncio allows one a thread.
    with start_blocking_portal() as portal:
        return portal.call(_genrm.score_rows, list(zip(*columns, strict=True)), kwargs)


def _split(kwargs: dict[str, Any]) -> tuple[dict[str, Any], str | None, Any]:
    settings = dict(kwargs)
    return settings, settings.pop("reward_router_address", None), settings.pop("reward_model_tokenizer", None)


_genrm = GenRM()

# A wrong environment stops the run here, when verl loads the function, rather than at its first reward: there verl's
# trainer drops the sample and goes on.
_at_start = Settings.load()
load_template(_at_start.prompt_template, _at_start.include_reference)
warn_of_unknown_variables()
