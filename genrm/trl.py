"""The door that TRL knocks on: the judge as a reward function of `GRPOTrainer` or `RLOOTrainer` (TRL 1.16).

::

    import genrm.trl

    GRPOTrainer(model=..., train_dataset=..., reward_funcs=genrm.trl.reward)
    GRPOTrainer(..., reward_funcs=genrm.trl.reward_function(BASE_URL="http://judge:30000", MAX_WORKERS=64))

TRL hands over a generation batch at once: lists of prompts and completions, and a list for each column of the data set.
A solution without a verdict has no reward (None): TRL leaves it out of its group's baseline and gives it no advantage.

* The problem is the column "question", else "problem", else the last message of the user, else the prompt itself.
* The ground truth is the column "ground_truth", else "answer", else "solution".
* A column "split" (test, val) marks validation as in verl. Other columns are not looked at.

With USE_OFFLOAD the judge is asleep when the rewards are returned. Where several processes train, one of them may have
its rewards while others still wait for theirs: BATCH_SIZE, the generation batch of all of them, spares the judge
waking and sleeping in between.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from genrm.errors import SampleError, SettingsError
from genrm.genrm import GenRM
from genrm.rewards import LEFT_OUT, Record
from genrm.settings import PREFIX, Settings, unknown
from genrm.verdicts import Reason

__all__ = ["RewardFunction", "reward", "reward_function"]

TRUTH_COLUMNS = ("ground_truth", "answer", "solution")
PASSED_ON = ("question", "problem", "split")
"""Columns that `genrm.samples` reads."""


class RewardFunction:
    """An async reward function of TRL, with settings of its own. Pickles.

    Args:
        name: what TRL logs it as. Two functions of one trainer need two names.
        model: a GenRM of your own; None: the one that is asked for True or False in a box.
        settings: by their names; they win over GENRM_* variables. ON_NO_VERDICT is nan where neither sets it; TRL is
            told None for it.

    Raises:
        SettingsError, TemplateError: a setting is wrong.
    """

    # A class: TRL pickles reward functions where it scores in another process, and reads their __name__.

    def __init__(self, name: str = "genrm", model: GenRM | None = None, **settings: Any) -> None:
        self.__name__ = name
        self._own_model = model
        self._settings = {key.lower().removeprefix(PREFIX.lower()): value for key, value in settings.items()}
        for key in self._settings:
            if key not in Settings.model_fields:
                raise SettingsError(unknown(key))
        self._model.judge_for(self._kwargs())

    async def __call__(
        self,
        prompts: Sequence[Any],
        completions: Sequence[Any],
        *,
        log_extra: Callable[[str, list[Any]], None] | None = None,
        log_metric: Callable[[str, float], None] | None = None,
        **columns: Any,
    ) -> list[float | None]:
        """The rewards of a generation batch, in its order; None where there is none.

        Args:
            prompts, completions: texts, or lists of messages.
            log_extra: TRL's; gets the verdicts for its table of completions.
            log_metric: TRL's; gets the shares of verdicts, and what they cost.
            **columns: the data set's, and whatever else TRL tells, which is left alone.

        Raises:
            SampleError: a problem is missing, or a completion is no text.
            NoVerdictError: ON_NO_VERDICT is raise, and there was none.
            OffloadError: the judge cannot be woken, or is awake and answers garbage.
        """
        rows = [
            _row(prompt, completion, {name: values[index] for name, values in columns.items() if name in _READ})
            for index, (prompt, completion) in enumerate(zip(prompts, completions, strict=True))
        ]
        kwargs = self._kwargs()
        try:
            records = await self._model.score_rows(rows, kwargs)
        finally:
            await self._model.judge_for(kwargs).batch_over()
        if log_extra:
            for column, values in _table(self.__name__, records):
                log_extra(column, values)
        if log_metric:
            for metric, value in _metrics(self.__name__, records):
                log_metric(metric, value)
        return [_reward(record["score"]) for record in records]

    @property
    def _model(self) -> GenRM:
        return self._own_model or _PLAIN

    def _kwargs(self) -> dict[str, Any]:
        """The settings, with what is the default here where nobody has said otherwise."""
        if "on_no_verdict" in Settings.load(**self._settings).model_fields_set:
            return self._settings
        return {**self._settings, "on_no_verdict": "nan"}


_PLAIN = GenRM()
"""Its judges, and their connections, outlive the functions: TRL's event loop goes on when a trainer is gone."""
_READ = frozenset((*TRUTH_COLUMNS, *PASSED_ON))


def reward_function(name: str = "genrm", model: GenRM | None = None, **settings: Any) -> RewardFunction:
    """A reward function with settings of its own: see `RewardFunction`."""
    return RewardFunction(name, model, **settings)


def _reward(score: float) -> float | None:
    """What TRL is told: None where ON_NO_VERDICT is nan or skip, and there was no verdict."""
    return None if math.isnan(score) or score == LEFT_OUT else score


def _row(prompt: Any, completion: Any, columns: Mapping[str, Any]) -> tuple[Any, ...]:
    """The arguments of `compute_score` for one completion."""
    truths = (columns[name] for name in TRUTH_COLUMNS if columns.get(name) is not None)
    info = {name: columns[name] for name in PASSED_ON if name in columns}
    return "", _solution(completion), next(truths, None), {**info, "prompt": _problem(prompt)}


def _problem(prompt: Any) -> str:
    if isinstance(prompt, str):
        return prompt
    said = [_content(message) for message in prompt if message.get("role") == "user"]
    return said[-1] if said else ""


def _solution(completion: Any) -> str:
    """What the policy wrote; where it called tools, its own messages without their answers."""
    if isinstance(completion, str):
        return completion
    if not isinstance(completion, Iterable):
        raise SampleError(f"a completion must be a str or a list of messages, but is {type(completion).__name__}")
    said = (_content(message) for message in completion if message.get("role", "assistant") == "assistant")
    return "\n\n".join(text for text in said if text)


def _content(message: Mapping[str, Any]) -> str:
    """A message's text; None where it only calls a tool, a list of blocks where the model also reads images."""
    content = message.get("content") or ""
    if isinstance(content, str):
        return content
    return "\n".join(block["text"] for block in content if block.get("type") == "text")


def _verdicts(records: Sequence[Record]) -> list[float]:
    """1 True, 0 False, between them what a parser of one's own gave; -1 none."""
    return [record["genrm_verdict"] for record in records]


def _table(name: str, records: Sequence[Record]) -> Iterable[tuple[str, list[Any]]]:
    words = {1.0: "True", 0.0: "False", -1.0: "none"}
    reasons = {reason.number: reason.value for reason in Reason}
    yield f"{name}_verdict", [words.get(value, f"{value:g}") for value in _verdicts(records)]
    yield f"{name}_reason", [reasons[int(record["genrm_reason"])] for record in records]


def _metrics(name: str, records: Sequence[Record]) -> Iterable[tuple[str, float]]:
    verdicts = _verdicts(records)
    for verdict, word in ((1, "true"), (0, "false"), (-1, "none")):
        yield f"{name}/verdict_{word}", verdicts.count(verdict) / len(records)
    if given := [verdict for verdict in verdicts if verdict >= 0]:
        yield f"{name}/verdict_mean", sum(given) / len(given)
    for key in ("attempts", "latency", "tokens"):
        yield f"{name}/{key}", sum(record[f"genrm_{key}"] for record in records) / len(records)


reward = reward_function()
