"""The image of the tests: it runs some of them, without a network."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from in_docker.images import Builder


def test_it_runs_tests(builder: Builder, client: Any) -> None:
    image = builder.build("test.Dockerfile", "--group", "test")
    command = ["tests/unit", "-q", "-n", "2", "-p", "no:cacheprovider"]
    output = client.containers.run(image.id, command, network_mode="none", remove=True)
    assert " passed" in output.decode()
    assert image.attrs["Config"]["User"] == "65532:65532"
