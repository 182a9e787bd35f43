"""Every default and every variable of genrm, in one place.

A setting is given as a variable (``GENRM_MAX_RETRIES=5``) or as a reward_kwarg of the training run
(``+reward.custom_reward_function.reward_kwargs.MAX_RETRIES=5``; any case, with or without the prefix). The kwarg wins.
The upper-case names are those of verl's genrm_remote recipe, with the same meaning.
"""

from __future__ import annotations

import difflib
import logging
import os
import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationError, ValidationInfo
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from genrm.errors import SettingsError
from genrm.setting_values import (
    read_json_object,
    read_key,
    read_switch_or_file,
    read_urls,
    read_word,
    read_word_or_number,
)

logger = logging.getLogger(__name__)

PREFIX = "GENRM_"


def _offload(value: bool, info: ValidationInfo) -> bool:
    if value and info.data.get("server_backend") == "openai":
        raise ValueError("an external API has no memory that could be given back")
    return value


def _level(value: int, info: ValidationInfo) -> int:
    if value == 2 and not info.data.get("reload_weights"):
        raise ValueError("at level 2 the weights are lost: it needs GENRM_RELOAD_WEIGHTS=1, too")
    return value


def _allowed(text: str) -> Any:
    """What the field allows, in words, for error messages."""
    return {"allowed": text}


class Settings(BaseSettings):
    """The settings of one judge. Immutable and hashable. Make one with `Settings.load`."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="forbid", hide_input_in_errors=True)

    base_url: Annotated[tuple[str, ...], NoDecode, BeforeValidator(read_urls)] = Field(
        ("http://localhost:30000",),
        min_length=1,
        description="Where the judge is served; several are balanced.",
        json_schema_extra=_allowed("one or more http(s) URLs, separated by commas, such as http://localhost:30000"),
    )
    api_key: Annotated[SecretStr, BeforeValidator(read_key)] = Field(
        SecretStr("EMPTY"),
        description="Sent as a bearer token, unless EMPTY.",
        json_schema_extra=_allowed("printable ASCII"),
    )
    model_name: str = Field(
        "genrm-demo",
        min_length=1,
        description="The served model name.",
        json_schema_extra=_allowed("any text but the empty one"),
    )
    server_backend: Annotated[Literal["vllm", "sglang", "openai"], BeforeValidator(read_word)] = Field(
        "vllm",
        description="What serves the judge. openai is an external API: the environment's proxies are used.",
        json_schema_extra=_allowed("vllm, sglang or openai"),
    )
    use_offload: Annotated[bool, AfterValidator(_offload)] = Field(
        False,
        description="Let the judge sleep while training needs the GPU.",
        json_schema_extra=_allowed("true or false; false for the openai backend"),
    )
    batch_size: int = Field(
        0,
        ge=0,
        description="The judge sleeps with the last of so many training samples, before its reward is returned; "
        "0: only by IDLE_LINGER.",
        json_schema_extra=_allowed("a whole number: samples of a step (prompts times rollouts), or 0"),
    )
    idle_linger: float | None = Field(
        None,
        ge=0,
        allow_inf_nan=False,
        description="Seconds without a sample after which the judge sleeps; unset: 5, and 60 where BATCH_SIZE is set.",
        json_schema_extra=_allowed("seconds from 0"),
    )
    reload_weights: bool = Field(
        False,
        description="Whether the judge's server may be told to load its weights again.",
        json_schema_extra=_allowed("true or false"),
    )
    sleep_level: Annotated[int, AfterValidator(_level)] = Field(
        1,
        ge=1,
        le=2,
        description="How deep vLLM sleeps: 1 keeps the weights in the host's memory, 2 drops them.",
        json_schema_extra=_allowed("1, or 2 where RELOAD_WEIGHTS is true"),
    )
    wake_timeout: float = Field(
        300.0,
        gt=0,
        allow_inf_nan=False,
        description="Seconds that a sample waits for the judge to wake up.",
        json_schema_extra=_allowed("seconds above 0"),
    )
    sleep_timeout: float = Field(
        180.0,
        gt=0,
        allow_inf_nan=False,
        description="Seconds that a batch's last sample waits for the judge to sleep.",
        json_schema_extra=_allowed("seconds above 0"),
    )
    drain_timeout: float = Field(
        60.0,
        gt=0,
        allow_inf_nan=False,
        description="Seconds that requests of others have to finish before the judge sleeps.",
        json_schema_extra=_allowed("seconds above 0"),
    )
    canary: Annotated[str, BeforeValidator(read_switch_or_file)] = Field(
        "on",
        description="What a judge that woke up is asked, to see that it knows what it knew: on, off, or a file.",
        json_schema_extra=_allowed("on, off, or a JSON-lines file with problem, solution and label"),
    )
    offload_ledger: Annotated[Literal["auto", "file", "ray"], BeforeValidator(read_word)] = Field(
        "auto",
        description="Where processes agree who needs the judge awake. auto: ray in a Ray cluster, else file.",
        json_schema_extra=_allowed("auto, file or ray"),
    )
    offload_dir: str = Field(
        "",
        description="The folder of that file, on a local disk; empty for one in the system's temporary folder.",
        json_schema_extra=_allowed("a path"),
    )
    admin_api_key: Annotated[SecretStr, BeforeValidator(read_key)] = Field(
        SecretStr("EMPTY"),
        description="SGLang's --admin-api-key, for putting it to sleep; EMPTY: API_KEY serves.",
        json_schema_extra=_allowed("printable ASCII"),
    )
    max_retries: int = Field(
        3,
        ge=1,
        le=100,
        description="How often one sample is asked at most, the first time counted in (as upstream counts).",
        json_schema_extra=_allowed("a whole number from 1 to 100"),
    )
    base_delay: float = Field(
        2.0,
        ge=0,
        le=600,
        allow_inf_nan=False,
        description="Seconds before the second attempt; doubled for each further one, with jitter.",
        json_schema_extra=_allowed("seconds from 0 to 600"),
    )
    max_workers: int = Field(
        32,
        ge=1,
        le=65536,
        description="Samples in flight at once, per process.",
        json_schema_extra=_allowed("a whole number from 1 to 65536"),
    )
    request_timeout: float = Field(
        120.0,
        gt=0,
        allow_inf_nan=False,
        description="Seconds for one request, from sending it to the reply's last byte.",
        json_schema_extra=_allowed("seconds above 0"),
    )
    sample_timeout: float = Field(
        300.0,
        gt=0,
        allow_inf_nan=False,
        description="Seconds for one sample with all its attempts, from the moment it has a worker.",
        json_schema_extra=_allowed("seconds above 0"),
    )
    max_tokens: int = Field(
        2048,
        ge=1,
        description="The longest reply, in tokens; always sent.",
        json_schema_extra=_allowed("a whole number above 0"),
    )
    extra_body: Annotated[str, NoDecode, BeforeValidator(read_json_object)] = Field(
        "{}",
        description="More fields of the request, as JSON, such as chat_template_kwargs. "
        "temperature and max_tokens are left out where they are null here.",
        json_schema_extra=_allowed('a JSON object, such as {"chat_template_kwargs": {"enable_thinking": false}}'),
    )
    prompt_template: str = Field(
        "",
        description="A template file, or the template itself; empty for the built-in one.",
        json_schema_extra=_allowed("a path, or a text with {problem} and {solution}"),
    )
    include_reference: bool = Field(
        False,
        description="Show the judge the ground truth.",
        json_schema_extra=_allowed("true or false"),
    )
    validation: Annotated[Literal["rule", "judge"], BeforeValidator(read_word)] = Field(
        "rule",
        description='Who scores samples of the splits "test" and "val".',
        json_schema_extra=_allowed("rule or judge"),
    )
    on_no_verdict: Annotated[
        Literal["rule", "skip", "zero", "nan", "raise"] | Annotated[float, Field(allow_inf_nan=False)],
        BeforeValidator(read_word_or_number),
    ] = Field(
        "rule",
        union_mode="left_to_right",
        description="The score where there is no verdict. rule: by the rule where a ground truth is there, else 0; "
        "skip: as good as 0, and left out by genrm_grpo.",
        json_schema_extra=_allowed("rule, skip, zero, nan, raise or a number"),
    )

    @classmethod
    def load(cls, **overrides: Any) -> Settings:
        """The settings of this process: overrides, else GENRM_* variables, else defaults.

        Raises:
            SettingsError: one or more are wrong; the message names each variable, its value and what is allowed.
        """
        try:
            return cls(**overrides)
        except ValidationError as error:
            given = {**_environment(), **overrides}
            raise SettingsError("\n".join(_explain(detail, given) for detail in error.errors())) from None


def _environment() -> dict[str, str]:
    return {key[len(PREFIX) :].lower(): value for key, value in os.environ.items() if key.upper().startswith(PREFIX)}


_CREDENTIALS = re.compile(r"//(?:(?!://).)*@")  # a password may hold a slash or a comma


def _explain(detail: Any, given: Mapping[str, Any]) -> str:
    name = str(detail["loc"][0])
    field = Settings.model_fields.get(name)
    if field is None:
        return unknown(name)
    was = "(hidden)" if name.endswith("api_key") else _CREDENTIALS.sub("//***@", repr(given.get(name)))
    extra = field.json_schema_extra
    allowed = extra["allowed"] if isinstance(extra, dict) else ""
    why = f" ({detail['ctx']['error']})" if detail["type"] == "value_error" else ""
    return f"{PREFIX}{name.upper()} was {was}{why}; allowed: {allowed}"


def unknown(name: str) -> str:
    """What to tell about a name that is no setting."""
    near = difflib.get_close_matches(name.lower(), Settings.model_fields, n=1)
    hint = (
        f"did you mean {near[0].upper()}?" if near else f"there are: {', '.join(sorted(Settings.model_fields)).upper()}"
    )
    return f"{name} is not a setting of genrm; {hint}"


def overrides_in(kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """The settings among a reward function's keyword arguments, by field name.

    A kwarg that is no setting is an error if it looks like one (a typing error that would go unseen), else it is left
    out with a warning: verl may pass arguments that this version does not know.

    Raises:
        SettingsError: a kwarg is nearly the name of a setting.
    """
    overrides: dict[str, Any] = {}
    for key, value in kwargs.items():
        name = key.lower().removeprefix(PREFIX.lower())
        if name in Settings.model_fields:
            if value is not None:
                overrides[name] = value
        elif key.isupper() or key.lower() != name or difflib.get_close_matches(name, Settings.model_fields, n=1):
            raise SettingsError(unknown(key))
        else:
            logger.warning("genrm does not know the argument %r of compute_score and leaves it out", key)
    return overrides


def warn_of_unknown_variables() -> None:
    """Log GENRM_* variables that no setting reads: most often a typing error."""
    for name in _environment():
        if name not in Settings.model_fields:
            logger.warning("%s", unknown(PREFIX + name.upper()))
