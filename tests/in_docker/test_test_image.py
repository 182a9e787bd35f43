"""The image of the tests: it runs some of them, without a network."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from in_docker.images import Builder


def test_it_runs_tests(builder: Builder, client: Any) -> None:
    image = builder.build("test.Dockerfile", "--group", "test")
    command = ["tests/unit", "-q", "-n", "2", "-p", "no:cacheprovider"]
    container = client.containers.run(image.id, command, network_mode="none", detach=True)
    try:
        code, said = container.wait()["StatusCode"], container.logs().decode()
    finally:
        container.remove(force=True)
    assert code == 0, said[-4000:]
    assert " passed" in said
    assert image.attrs["Config"]["User"] == "65532:65532"
