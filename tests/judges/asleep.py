"""Whether a server sleeps, by what it says of itself."""

from __future__ import annotations

import httpx


def is_asleep(url: str, backend: str) -> bool:
    """Ask one server, no router. Raises httpx.HTTPError where it does not answer."""
    with httpx.Client(base_url=url, timeout=60, trust_env=False) as http:
        if backend == "sglang":
            return http.get("/ready").status_code == 503
        return bool(http.get("/is_sleeping").raise_for_status().json()["is_sleeping"])
