"""A judge server that misbehaves: `python bad_server.py --port P KIND`. Where it comes up it answers as vLLM does."""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

_SLEEPER = "import time\nwhile True: time.sleep(60)"


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = json.dumps({"data": [{"id": "genrm-demo"}]}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_arguments: Any) -> None:
        """Nothing."""


def dies() -> None:
    """At start, with a reason."""
    print("RuntimeError: no such weights", flush=True)
    sys.exit(7)


def hangs() -> None:
    """Never ready."""
    print("loading weights", flush=True)
    while True:
        time.sleep(60)


def is_deaf() -> None:
    """Comes up, and does not hear SIGTERM."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


def has_children() -> None:
    """Comes up, with processes that its end would not end: in a group, in a session, without its environment."""
    command = [sys.executable, "-c", _SLEEPER]
    children = [
        subprocess.Popen(command, preexec_fn=os.setpgrp),  # as SGLang's workers
        subprocess.Popen(command, start_new_session=True),
        subprocess.Popen(command, env={}),  # engines' workers rename themselves, over what tells of it
    ]
    print("children", *(child.pid for child in children), flush=True)


KINDS = {kind.__name__: kind for kind in (dies, hangs, is_deaf, has_children)}

if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int)
    parser.add_argument("kind", choices=KINDS)
    given = parser.parse_args()
    KINDS[given.kind]()
    ThreadingHTTPServer(("127.0.0.1", given.port), _Handler).serve_forever()
