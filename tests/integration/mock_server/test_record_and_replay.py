"""Recording before a real socket, and answering from the cassette, seen with the official SDK."""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import httpx
import openai
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import StreamingResponse
from starlette.routing import Route

from mock_server import MockServer
from mock_server.cassettes.apps import recording_app, replay_app
from mock_server.cassettes.cassette import Cassette, CassetteError
from served import served

Start = Callable[..., "subprocess.Popen[str]"]


def client_of(url: str, key: str = "sk-secret-key") -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0)


def ask(client: openai.OpenAI, content: str = "Is this right?") -> str:
    completion = client.chat.completions.create(
        model="genrm-demo", messages=[{"role": "user", "content": content}], temperature=0
    )
    return completion.choices[0].message.content or ""


def stream(client: openai.OpenAI) -> list[str]:
    events = client.chat.completions.create(
        model="genrm-demo", messages=[{"role": "user", "content": "Is this right?"}], stream=True
    )
    return [event.choices[0].delta.content or "" for event in events]


def test_what_was_recorded_is_answered_without_the_server(mock_server: MockServer, tmp_path: Path) -> None:
    path = tmp_path / "test.json"
    with served(recording_app(mock_server.base_url, path)) as url, client_of(url) as client:
        recorded = [ask(client), stream(client), client.models.list().data[0].id]
        with pytest.raises(openai.NotFoundError):
            client.models.retrieve("nope")
    mock_server.stop()
    with served(replay_app(Cassette.load(path))) as url, client_of(url) as client:
        assert [ask(client), stream(client), client.models.list().data[0].id] == recorded
        with pytest.raises(openai.NotFoundError):
            client.models.retrieve("nope")
        with pytest.raises(openai.NotFoundError, match=r"body\.messages\[0\]\.content: from character 8"):
            ask(client, "Is this wrong?")


def test_keys_are_passed_on_and_not_kept(mock_server_factory: Callable[..., MockServer], tmp_path: Path) -> None:
    server, path = mock_server_factory(api_key="sk-secret-key"), tmp_path / "test.json"
    with served(recording_app(server.base_url, path)) as url:
        with client_of(url) as client:
            ask(client)
        with client_of(url, "sk-wrong-key") as client, pytest.raises(openai.AuthenticationError):
            ask(client, "Who am I?")
    text = path.read_text()
    assert "sk-secret-key" not in text
    assert "sk-wrong-key" not in text
    statuses = [answer["status"] for entry in json.loads(text)["requests"] for answer in entry["answers"]]
    assert sorted(statuses) == [200, 401]


@pytest.mark.parametrize("cut", [0, 4])
def test_a_server_that_repeats_the_key_does_not_get_it_onto_the_cassette(tmp_path: Path, cut: int) -> None:
    """Nor where the key comes in two pieces."""

    async def echo(request: Request) -> StreamingResponse:
        key = request.headers["authorization"]

        async def pieces() -> AsyncIterator[str]:
            yield f"wrong: {key[: len(key) - cut]}"
            await asyncio.sleep(0.01)  # so that the two do not share a read
            yield key[len(key) - cut :] or "."

        return StreamingResponse(pieces(), 401)

    path = tmp_path / "test.json"
    with served(Starlette(routes=[Route("/x", echo)])) as upstream, served(recording_app(upstream, path)) as url:
        answer = httpx.get(f"{url}/x", headers={"authorization": "Bearer sk-secret-key"})
    assert answer.text.startswith("wrong: Bearer sk-secret-key")
    assert "sk-secret" not in path.read_text()
    assert "wrong: Bearer ***" in path.read_text()


def test_recording_adds_to_a_cassette_and_refuses_another_file(mock_server: MockServer, tmp_path: Path) -> None:
    path = tmp_path / "test.json"
    for content in ("one", "two"):
        with served(recording_app(mock_server.base_url, path)) as url, client_of(url) as client:
            ask(client, content)
    assert len(Cassette.load(path).answers) == 2
    path.write_text("notes")
    with pytest.raises(CassetteError):
        recording_app(mock_server.base_url, path)


def test_a_server_that_is_not_there_is_named_and_nothing_is_recorded(tmp_path: Path) -> None:
    path = tmp_path / "test.json"
    with served(recording_app("http://127.0.0.1:9", path)) as url:
        answer = httpx.get(f"{url}/v1/models")
    assert answer.status_code == 502
    assert "http://127.0.0.1:9 does not answer: ConnectError" in answer.json()["error"]["message"]
    assert not path.exists()


def test_the_commands(start: Start, mock_server: MockServer, tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    recorder = start("record", "--upstream", mock_server.base_url, "--cassette", str(path), "--port", "0")
    url, what = said_by(recorder)
    assert what == f"records {mock_server.base_url} to {path}"
    with client_of(url) as client:
        recorded = ask(client)
    recorder.terminate()
    assert recorder.wait(60) == 0
    mock_server.stop()
    player = start("replay", str(path), "--port", "0")
    url, what = said_by(player)
    assert what == f"replays 1 requests of {path}"
    with client_of(url) as client:
        assert ask(client) == recorded
        with pytest.raises(openai.NotFoundError, match="was never recorded"):
            ask(client, "Is this wrong?")
    player.terminate()
    out, err = player.communicate(timeout=60)
    assert (player.returncode, out) == (0, "")
    assert "was never recorded" in err


@pytest.mark.parametrize("arguments", [["replay"], ["record", "--upstream", "http://127.0.0.1:9", "--cassette"]])
def test_the_commands_refuse_a_file_that_is_no_cassette(start: Start, tmp_path: Path, arguments: list[str]) -> None:
    (tmp_path / "notes").write_text("notes")
    process = start(*arguments, str(tmp_path / "notes"), "--port", "0")
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (2, "")
    assert err.startswith(f"genrm-mock: {tmp_path / 'notes'} is no JSON")


def said_by(process: subprocess.Popen[str]) -> tuple[str, str]:
    """The URL and the rest of the line that a command says when it serves."""
    assert process.stdout is not None
    _, url, what = process.stdout.readline().strip().split(" ", 2)
    return url, what.strip()
