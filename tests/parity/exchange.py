"""One HTTP request and everything that comes back, when it comes, and also when it does not.

At the level of http.client: libraries above it hide what is looked at here (half an answer, headers without a body).
"""

from __future__ import annotations

import contextlib
import http.client
import socket
import threading
import time
from urllib.parse import urlsplit

from parity.cases import Request

PATIENCE = 120.0
"""Seconds that one answer may take: the real server compiles kernels when a feature is first used."""


class Exchange:
    """A request that is under way in a thread of its own."""

    def __init__(self, base_url: str, request: Request) -> None:
        self.request = request
        self.status: int | None = None
        self.headers: list[tuple[str, str]] = []
        self.body = b""
        self.events = 0
        self.ending = ""
        """How it ended: complete, cut, client gave up, client hung up, no connection; empty while it goes on."""
        self.ended_at: float | None = None
        self.sent = threading.Event()
        """Set once the whole request is on its way."""
        self._changed = threading.Condition()
        url = urlsplit(base_url)
        timeout = request.give_up_after or PATIENCE
        self._connection = http.client.HTTPConnection(url.hostname or "", url.port, timeout=timeout)
        self._thread = threading.Thread(target=self._run, name=request.name, daemon=True)
        self._thread.start()

    @property
    def is_stream(self) -> bool:
        """Whether the answer is a stream of events."""
        return self.header("content-type").startswith("text/event-stream")

    def header(self, name: str) -> str:
        """The value of a header of the answer, or nothing."""
        return next((value for key, value in self.headers if key.lower() == name), "")

    def join(self, seconds: float) -> bool:
        """Wait for the end; whether it came."""
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def wait_for_answer(self, seconds: float) -> bool:
        """Wait for status and headers; whether they came."""
        with self._changed:
            return self._changed.wait_for(lambda: self.status is not None or bool(self.ending), seconds)

    def wait_for_events(self, number: int, seconds: float) -> bool:
        """Wait for so many events of a stream; whether they came."""
        with self._changed:
            self._changed.wait_for(lambda: self.events >= number or bool(self.ending), seconds)
            return self.events >= number

    def seen(self) -> tuple[int | None, int, str]:
        """Status, number of events and ending so far: equal twice if nothing came in between."""
        with self._changed:
            return self.status, self.events, self.ending

    def close(self) -> None:
        """Hang up, whatever is going on."""
        self._shut()
        self.join(5)

    def _shut(self) -> None:
        with contextlib.suppress(OSError, AttributeError):
            # Not close(): a thread that reads from the socket would not notice.
            self._connection.sock.shutdown(socket.SHUT_RDWR)

    def _run(self) -> None:
        ending = "complete"
        try:
            ending = self._talk()
        except TimeoutError:
            ending = "client gave up"
        except http.client.IncompleteRead as error:
            self.body += error.partial
            ending = "cut"
        except (http.client.HTTPException, OSError):
            ending = "cut" if self.status else "no connection"
        finally:
            self.sent.set()
            self._connection.close()
            with self._changed:
                self.ending, self.ended_at = ending, time.monotonic()
                self._changed.notify_all()

    def _talk(self) -> str:
        request, connection = self.request, self._connection
        # Written by hand: http.client would add headers that some servers echo or act on.
        connection.putrequest(request.method, request.path, skip_accept_encoding=True)
        for name, value in {"Accept": "*/*", **request.headers}.items():
            connection.putheader(name, value)
        if request.body is not None or request.method != "GET":
            connection.putheader("Content-Length", str(len(request.body or b"")))
        connection.endheaders(request.body)
        self.sent.set()
        response = connection.getresponse()
        with self._changed:
            self.status, self.headers = response.status, response.getheaders()
            self._changed.notify_all()
        if not self.is_stream:
            self.body = response.read()
            return "complete"
        while line := response.readline():
            self.body += line
            if line.startswith(b"data:"):
                with self._changed:
                    self.events += 1
                    self._changed.notify_all()
                if self.events == request.hang_up_after:
                    self._shut()
                    return "client hung up"
        # readline() keeps quiet about a stream that breaks off between two chunks.
        return "cut" if response.chunked and response.chunk_left is not None else "complete"
