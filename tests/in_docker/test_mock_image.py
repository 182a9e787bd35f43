"""The mock's image, run as ci/compose.yaml runs it and asked by genrm."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from genrm import Reason
from genrm.reward_function import compute_score_batch
from in_docker.conftest import Mock

if TYPE_CHECKING:
    from docker.models.images import Image

COUNT = 16
MEGABYTES = 1_000_000


def score(url: str, **settings: Any) -> list[dict[str, float]]:
    """The records of solutions of which those with even numbers are right."""
    numbers = range(COUNT)
    return compute_score_batch(
        ["mine"] * COUNT,
        [f"{number} + 2 = {number + 2 + number % 2}" for number in numbers],
        [None] * COUNT,
        [{"question": f"What is {number} + 2?"} for number in numbers],
        BASE_URL=url,
        BASE_DELAY=0,
        **settings,
    )


def rewards(url: str) -> list[float]:
    return [record["score"] for record in score(url)]


EXPECTED = [1.0 - number % 2 for number in range(COUNT)]


def test_genrm_scores_with_it_once_it_is_healthy(start_mock: Callable[..., Mock]) -> None:
    mock = start_mock()
    mock.wait_until(lambda: mock.health == "healthy")
    assert rewards(mock.base_url) == EXPECTED


def test_a_server_that_cannot_answer_is_unhealthy(start_mock: Callable[..., Mock]) -> None:
    """The flag wins over the variable, so that the health check asks where nobody is."""
    mock = start_mock("--port", "0")
    mock.wait_until(lambda: mock.health == "unhealthy")


def test_killed_it_gives_no_verdict_and_started_again_the_same_ones(start_mock: Callable[..., Mock]) -> None:
    mock = start_mock()
    mock.wait_until(lambda: mock.health == "healthy")
    mock.container.kill()
    mock.wait_until(lambda: mock.container.wait()["StatusCode"] == 137)
    dead = score(mock.base_url, MAX_RETRIES=1, ON_NO_VERDICT=-1)
    assert {(record["score"], record["genrm_reason"]) for record in dead} == {(-1.0, Reason.UNREACHABLE.number)}
    mock.container.start()
    mock.wait_until(lambda: mock.health == "healthy")
    assert rewards(mock.base_url) == EXPECTED


def test_stopped_it_ends_by_itself(start_mock: Callable[..., Mock]) -> None:
    mock = start_mock()
    mock.wait_until(lambda: mock.health == "healthy")
    mock.container.stop(timeout=60)
    assert mock.container.wait()["StatusCode"] == 0


def test_its_user_owns_nothing_and_writes_nowhere(start_mock: Callable[..., Mock]) -> None:
    mock = start_mock()
    code = (
        "import os; print(os.getuid(), os.getgid(), [f for f in ('/', '/opt/genrm', '/tmp') if os.access(f, os.W_OK)])"
    )
    result = mock.container.exec_run(["python", "-c", code])
    assert (result.exit_code, result.output.decode().strip()) == (0, "65532 65532 []")


def test_what_it_is_made_of(mock_image: Image, builder: Any, client: Any) -> None:
    base = client.images.get(builder.base)
    config = mock_image.attrs["Config"]
    assert config["User"] == "65532:65532"
    assert config["ExposedPorts"] == {"30000/tcp": {}}
    # On top of the base is what pyproject.toml asks for, and neither sources nor wheels.
    print(
        f"the base has {base.attrs['Size'] / MEGABYTES:.0f} MB, the image {mock_image.attrs['Size'] / MEGABYTES:.0f} MB"
    )
    assert mock_image.attrs["Size"] - base.attrs["Size"] < 120 * MEGABYTES
    listing = client.containers.run(
        mock_image.id, ["-c", "import os; print(os.path.exists('/src'))"], entrypoint=["python"], remove=True
    )
    assert listing.strip() == b"False"
