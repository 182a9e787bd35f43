"""Read a request for /generate: SGLang's own endpoint, with sampling parameters in an object of their own.

Three hands look at it: pydantic at the types of its fields, a schema at the names and types of the parameters, and the
engine at the rest (`late`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mock_server.errors import ApiError, Problem, bad_request, invalid
from mock_server.requests.fields import Fields
from mock_server.requests.lengths import Limits
from mock_server.requests.sampling import Sampling
from mock_server.requests.sglang_checks import read_constraint, refusal
from mock_server.requests.sglang_fields import prompts_of
from mock_server.requests.sglang_reading import SglangRequest, plain_prompt

DEFAULT_TOKENS = 128
_INTEGERS = ("max_new_tokens", "top_k", "min_new_tokens", "n", "sampling_seed", "stream_interval", "beam_width")
_FLOATS = ("temperature", "top_p", "min_p", "frequency_penalty", "presence_penalty", "repetition_penalty")
_BOOLEANS = ("ignore_eos", "skip_special_tokens", "spaces_between_special_tokens", "no_stop_trim")
_PARAMETERS = (
    *("max_new_tokens", "stop", "stop_token_ids", "stop_regex", "temperature", "top_p", "top_k", "min_p"),
    *("frequency_penalty", "presence_penalty", "repetition_penalty", "min_new_tokens", "n", "json_schema", "regex"),
    *("ebnf", "structural_tag", "ignore_eos", "skip_special_tokens", "spaces_between_special_tokens", "no_stop_trim"),
    *("stream_interval", "logit_bias", "sampling_seed", "custom_params", "beam_width", "watermark", "choice"),
)
_TYPES: dict[str, tuple[Any, str]] = {
    **dict.fromkeys(_INTEGERS, (int, "i64")),
    **dict.fromkeys(_FLOATS, (int | float, "f64")),
    **dict.fromkeys(_BOOLEANS, (bool, "a boolean")),
    "stop": (str | list, "a string or a sequence"),
    "stop_token_ids": (list, "a sequence"),
    "logit_bias": (dict, "a map"),
}


class ContractError(ApiError):
    """The sampling parameters are not those of the schema."""

    def __init__(self, message: str) -> None:
        super().__init__(400, "ContractError", message)


def read_generate(body: Any, limits: Limits) -> SglangRequest:
    """A request for /generate. Raises ApiError; what it is refused for late is said in the request."""
    if not isinstance(body, dict):
        words = "Input should be a dictionary or an instance of GenerateReqInput"
        raise invalid([Problem("dataclass_type", "body", words, body, {"class_name": "GenerateReqInput"})])
    fields = Fields(body)
    texts, raw = _texts(fields), _parameters(fields)
    rid = body.get("rid")
    request = SglangRequest(
        prompts=[],
        sampling=Sampling.read(Fields({})),
        stream=fields.boolean("stream"),
        include_usage=False,
        continuous_usage=False,
        request_id=rid if isinstance(rid, str) else None,
        ids=rid if isinstance(rid, list) else [],
        logprob_texts=fields.boolean("return_text_in_logprobs"),
    )
    fields.check()
    _check_schema(raw)
    try:
        _fill(request, texts, raw, body)
    except ApiError as error:
        request.late = error
        return request
    request.late = refusal(request.prompts, request.sampling, limits.max_model_len)
    request.sampling.n = max(request.sampling.n, 1)
    return request


def _fill(request: SglangRequest, given: Any, raw: Mapping[str, Any], body: Mapping[str, Any]) -> None:
    if given is None:
        raise bad_request("Either text, input_ids or input_embeds should be provided.")
    if given == [] and body.get("text") is None:
        raise bad_request("input_ids cannot be empty.")
    request.prompts = [plain_prompt(prompt) for prompt in prompts_of(given) or []]
    request.sampling = sampling = _sampling(raw)
    request.batch = sampling.n > 1 or (isinstance(given, list) and not (given and type(given[0]) is int))
    if body.get("return_logprob"):
        top = body.get("top_logprobs_num") or 0
        sampling.logprobs = top[0] if isinstance(top, list) else top
        request.logprobs_from = body.get("logprob_start_len", -1)


def _texts(fields: Fields) -> Any:
    """The prompts as they are given: `text`, or else `input_ids`."""
    for name in ("text", "input_ids"):
        given = fields.values.get(name)
        if given is not None:
            if prompts_of(given) is None:
                fields.reject("string_type", f"{name}.str", "Input should be a valid string", given)
            return given
    return None


def _parameters(fields: Fields) -> Mapping[str, Any]:
    """The parameters; of a list of them, one for each prompt, the first for all."""
    given = fields.values.get("sampling_params")
    if isinstance(given, list) and given:
        given = given[0]
    if given is None or isinstance(given, dict):
        return given or {}
    fields.reject("dict_type", "sampling_params.dict[str,any]", "Input should be a valid dictionary", given)
    return {}


def _check_schema(raw: Mapping[str, Any]) -> None:
    """Raises ContractError for a parameter that there is not, or of another type."""
    for name, value in raw.items():
        if name not in _PARAMETERS:
            known = ", ".join(f"`{known}`" for known in _PARAMETERS)
            raise ContractError(f"unknown field `{name}`, expected one of {known}")
        wanted, kind = _TYPES.get(name, (object, "anything"))
        if value is None or (isinstance(value, wanted) and (wanted in (bool, object) or not isinstance(value, bool))):
            continue
        raise ContractError(f"invalid type: {_found(value)}, expected {kind}")


def _found(value: Any) -> str:
    """A value of the wrong type, as the schema's decoder calls it."""
    if isinstance(value, bool):
        return f"boolean `{str(value).lower()}`"
    if isinstance(value, str):
        return f'string "{value}"'
    if isinstance(value, float):
        return f"floating point `{value}`"
    if isinstance(value, int):
        return f"integer `{value}`"
    return "sequence" if isinstance(value, list) else "map"


def _sampling(raw: Mapping[str, Any]) -> Sampling:
    """The parameters; numbers stay as they are written, and so they are shown."""
    stop = raw.get("stop") or []
    n = raw.get("n")
    return Sampling(
        n=1 if n is None else n,
        temperature=raw.get("temperature"),
        seed=raw.get("sampling_seed"),
        max_tokens=raw.get("max_new_tokens", DEFAULT_TOKENS),
        stop=[stop] if isinstance(stop, str) else [*stop],
        include_stop=bool(raw.get("no_stop_trim")),
        ignore_eos=bool(raw.get("ignore_eos")),
        top_p=raw.get("top_p"),
        top_k=raw.get("top_k"),
        presence_penalty=raw.get("presence_penalty"),
        frequency_penalty=raw.get("frequency_penalty"),
        repetition_penalty=raw.get("repetition_penalty"),
        min_p=raw.get("min_p"),
        min_tokens=raw.get("min_new_tokens") or 0,
        stop_token_ids=raw.get("stop_token_ids") or (),
        logit_bias=raw.get("logit_bias"),
        stops_grammars=True,
        constraint=read_constraint(raw, ("json_schema", "regex", "ebnf", "structural_tag")),
    )
