"""Settings: where they come from, and what is said of wrong ones."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from types import MappingProxyType
from typing import Any

import pytest
from pydantic import SecretStr

from genrm import Settings, SettingsError
from genrm.settings import overrides_in, warn_of_unknown_variables


def test_defaults_work_without_any_configuration() -> None:
    settings = Settings.load()
    assert settings.base_url == ("http://localhost:30000",)
    assert (settings.max_retries, settings.base_delay, settings.max_workers) == (3, 2.0, 32)
    assert (settings.validation, settings.on_no_verdict, settings.use_offload) == ("rule", "rule", False)


def test_variables_and_overrides(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GENRM_MAX_RETRIES", "5")
    monkeypatch.setenv("GENRM_SERVER_BACKEND", "SGLang")
    monkeypatch.setenv("GENRM_EXTRA_BODY", '{"b": 1, "a": {"x": true}}')
    settings = Settings.load(max_workers=7)
    assert (settings.max_retries, settings.server_backend, settings.max_workers) == (5, "sglang", 7)
    assert settings.extra_body == '{"a": {"x": true}, "b": 1}'
    assert Settings.load(max_retries=2).max_retries == 2
    assert Settings.load(extra_body={"z": None}).extra_body == '{"z": null}'


@pytest.mark.parametrize(
    ("value", "urls"),
    [
        ("http://a:1", ("http://a:1",)),
        ("http://a:1/v1/, b:2", ("http://a:1", "http://b:2")),
        ("https://api.x.org/openai/v1/chat/completions", ("https://api.x.org/openai",)),
        ("10.0.0.1:30000\n[::1]:8", ("http://10.0.0.1:30000", "http://[::1]:8")),
        (["http://a", "http://b/"], ("http://a", "http://b")),
    ],
)
def test_base_urls_have_one_form(value: object, urls: tuple[str, ...]) -> None:
    assert Settings.load(base_url=value).base_url == urls


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("MAX_RETRIES", "many", "a whole number from 1 to 100"),
        ("MAX_RETRIES", "0", "a whole number from 1 to 100"),
        ("MAX_WORKERS", "-1", "a whole number from 1 to 65536"),
        ("BASE_DELAY", "nan", "seconds from 0 to 600"),
        ("BASE_URL", "ftp://a", "http(s) URLs"),
        ("BASE_URL", "", "http(s) URLs"),
        ("BASE_URL", "http://a:port", "http(s) URLs"),
        ("SERVER_BACKEND", "tgi", "vllm, sglang or openai"),
        ("USE_OFFLOAD", "perhaps", "true or false"),
        ("SLEEP_LEVEL", "2", "GENRM_RELOAD_WEIGHTS=1"),
        ("SLEEP_LEVEL", "0", "1, or 2 where RELOAD_WEIGHTS is true"),
        ("IDLE_LINGER", "-1", "seconds from 0"),
        ("OFFLOAD_LEDGER", "sqlite", "auto, file or ray"),
        ("VALIDATION", "none", "rule or judge"),
        ("ON_NO_VERDICT", "inf", "rule, skip, zero, nan, raise or a number"),
        ("ON_NO_VERDICT", "half", "rule, skip, zero, nan, raise or a number"),
        ("EXTRA_BODY", "[1]", "a JSON object"),
        ("EXTRA_BODY", "{", "a JSON object"),
        ("EXTRA_BODY", '{"n": 2, "temperature": 1}', "n, temperature cannot be set here"),
        ("MODEL_NAME", "", "any text but the empty one"),
    ],
)
def test_a_wrong_value_names_variable_value_and_what_is_allowed(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, allowed: str
) -> None:
    monkeypatch.setenv(f"GENRM_{name}", value)
    with pytest.raises(SettingsError) as caught:
        Settings.load()
    message = str(caught.value)
    assert message.startswith(f"GENRM_{name} was {value!r}")
    assert allowed in message


@pytest.mark.parametrize(
    ("value", "expected"), [("ZERO", "zero"), ("nan", "nan"), ("-0.5", -0.5), (0.25, 0.25), ("raise", "raise")]
)
def test_on_no_verdict(value: object, expected: object) -> None:
    assert Settings.load(on_no_verdict=value).on_no_verdict == expected


def test_the_api_key_is_never_printed() -> None:
    settings = Settings.load(api_key="sk-very-secret")
    assert "sk-very-secret" not in f"{settings!r} {settings}"
    with pytest.raises(SettingsError) as caught:
        Settings.load(api_key=["sk-very-secret"])
    assert "sk-very-secret" not in str(caught.value)
    assert "GENRM_API_KEY was (hidden)" in str(caught.value)


@pytest.mark.parametrize("key", ["sk-sécret", "sk-secret\nx"])
def test_a_key_that_no_header_can_hold_is_refused_unprinted(key: str) -> None:
    with pytest.raises(SettingsError, match="printable ASCII") as caught:
        Settings.load(api_key=key)
    assert "cret" not in str(caught.value)


def test_a_key_read_from_a_file_may_end_in_a_line_feed() -> None:
    assert Settings.load(api_key=" sk-secret\n").api_key.get_secret_value() == "sk-secret"


@pytest.mark.parametrize("secret", ["me:secr3t", "me:secr/secr3t", "me:secr,secr3t", "me:secr3t@secr3t"])
def test_credentials_in_a_url_are_refused_unprinted(monkeypatch: pytest.MonkeyPatch, secret: str) -> None:
    monkeypatch.setenv("GENRM_BASE_URL", f"http://a, http://{secret}@b:1/v1")
    with pytest.raises(SettingsError) as caught:
        Settings.load()
    assert "secr" not in str(caught.value)
    assert "GENRM_BASE_URL was 'http://a, http://***@b:1/v1'" in str(caught.value)
    assert "use GENRM_API_KEY" in str(caught.value)


def test_nested_kwargs_of_hydra_are_read() -> None:
    """They come as mappings of its own, and as lists of them."""
    given = MappingProxyType({"a": MappingProxyType({"b": ({"c": 1}, None)})})
    assert json.loads(Settings.load(extra_body=given).extra_body) == {"a": {"b": [{"c": 1}, None]}}


@pytest.mark.parametrize(("name", "value"), [("extra_body", 5), ("extra_body", {"a": object()}), ("base_url", 5)])
def test_what_cannot_be_read_at_all_is_named(name: str, value: Any) -> None:
    with pytest.raises(SettingsError, match=f"GENRM_{name.upper()} was"):
        Settings.load(**{name: value})


def test_what_is_always_sent_can_be_left_out_and_not_changed() -> None:
    assert json.loads(Settings.load(extra_body='{"temperature": null}').extra_body) == {"temperature": None}
    for body in ({"temperature": 1}, {"model": None}):
        with pytest.raises(SettingsError, match="cannot be set here"):
            Settings.load(extra_body=body)


def test_settings_are_values() -> None:
    settings = Settings.load(base_url="http://a", api_key="k")
    assert hash(settings) == hash(Settings.load(base_url="a", api_key=SecretStr("k")))
    with pytest.raises(ValueError, match="frozen"):
        settings.max_workers = 3  # type: ignore[misc]


def test_kwargs_of_the_reward_function(caplog: pytest.LogCaptureFixture) -> None:
    kwargs = {"MAX_RETRIES": 4, "base_url": "http://a", "GENRM_MODEL_NAME": "m", "API_KEY": None, "rollout_step": 3}
    with caplog.at_level(logging.WARNING):
        assert overrides_in(kwargs) == {"max_retries": 4, "base_url": "http://a", "model_name": "m"}
    assert "rollout_step" in caplog.text


@pytest.mark.parametrize("name", ["MAX_RETRYS", "base_ulr", "GENRM_FOO", "TEMPERATURE"])
def test_a_kwarg_that_looks_like_a_setting_is_refused(name: str) -> None:
    with pytest.raises(SettingsError, match=name):
        overrides_in({name: 1})


def test_an_unknown_field_is_refused() -> None:
    with pytest.raises(SettingsError, match=r"max_retrys is not a setting of genrm; did you mean MAX_RETRIES\?"):
        Settings.load(max_retrys=1)


def test_unknown_variables_are_warned_of(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setenv("GENRM_MAX_WORKER", "3")
    monkeypatch.setenv("GENRM_MAX_WORKERS", "3")
    with caplog.at_level(logging.WARNING):
        warn_of_unknown_variables()
    assert [record.getMessage() for record in caplog.records] == [
        "GENRM_MAX_WORKER is not a setting of genrm; did you mean MAX_WORKERS?"
    ]


@pytest.mark.parametrize(
    ("name", "value"),
    [("GENRM_MAX_RETRIES", "x"), ("GENRM_PROMPT_TEMPLATE", "no such file"), ("GENRM_SLEEP_LEVEL", "2")],
)
def test_a_wrong_environment_fails_when_the_reward_function_is_loaded(name: str, value: str) -> None:
    run = subprocess.run(
        [sys.executable, "-c", "import genrm.reward_function"],
        env={**os.environ, name: value},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 1
    assert name.removeprefix("GENRM_") in run.stderr.splitlines()[-1]
