"""The judge that was launched does what was recorded from a server of its version, or what the mock of it does."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest
import yaml

import mock_server
from judges.launch import Judge
from judges.programs import KINDS
from mock_server import MockServer
from parity import cases, recorder
from parity.cases import Case
from parity.compare import differences
from parity.products import PRODUCTS, Product
from parity.steps import Seen

CHOSEN: dict[str, list[str]] = yaml.safe_load(Path(__file__).with_name("parity.yaml").read_text(encoding="utf-8"))
_PROFILES = Path(mock_server.__file__).parent / "profiles"


def chosen(product: Product) -> list[Case]:
    """The cases that are played to such a server."""
    return [case for case in cases.load(product.cases, product.flavours) if case.name in CHOSEN[product.name]]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test for each case of what is launched."""
    if "case" in metafunc.fixturenames:
        product = PRODUCTS[KINDS[metafunc.config.option.server].backend]
        played = [pytest.param(product, case, id=case.name) for case in chosen(product)]
        metafunc.parametrize(("product", "case"), played)


@pytest.fixture(scope="session")
def version(judge: Judge) -> str:
    """The server's version; the tests are skipped where it imitates nobody's."""
    if judge.kind.name == "hf":
        pytest.skip("hf is neither vLLM nor SGLang, and is compared with none: this needs --server vllm-cpu or mock")
    path = {"vllm": "/version", "sglang": "/server_info"}[judge.backend]
    return str(httpx.get(judge.workers()[0] + path, trust_env=False).raise_for_status().json()["version"])


def test_it_does_what_is_known_of_its_version(judge: Judge, version: str, product: Product, case: Case) -> None:
    expected = known(product, version, case)
    # A router would answer for itself.
    seen = recorder.record(product, judge.workers()[0], case)
    assert list(differences(expected, seen)) == [], f"{case.name}: expected | seen"


def known(product: Product, version: str, case: Case) -> Seen:
    """What a server of that version does."""
    if version == product.version:
        return recorder.load(product.recordings)[case.name]
    profile = f"{product.name}-{version}"
    if not (_PROFILES / f"{profile}.yaml").exists():
        pytest.skip(f"neither a recording nor a profile of {product.title} {version} is here")
    with MockServer(**{**product.mock, "profile": profile}) as mock:
        return recorder.record(product, mock.base_url, case)


def test_every_chosen_case_is_there() -> None:
    for product in PRODUCTS.values():
        assert {case.name for case in chosen(product)} == set(CHOSEN[product.name])
