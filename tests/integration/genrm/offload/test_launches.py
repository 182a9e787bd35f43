"""A training run that begins, and one that ends."""

from __future__ import annotations

import os
import textwrap
from typing import Any

import pytest

from judged_samples import (
    Factory,
    Make,
    assert_manners,
    script,
    told,
)
from mock_server import MockServer


class TestALaunch:
    SCORE = """
        import asyncio, os
        from genrm.reward_function import compute_score
        async def main():
            return [await compute_score("m", "2 + 2 = 4", "4", {"question": f"2 + 2? {n}"}) for n in range(3)]
        """

    def environment(self, settings: dict[str, Any]) -> dict[str, str]:
        return {f"GENRM_{name}": str(value) for name, value in settings.items()}

    def test_it_leaves_nothing_open(self, mock_server: MockServer, settings: Make) -> None:
        """Warnings are errors: a socket, a database or a task that is left would be reported."""
        code = self.SCORE + "\n        print([r['genrm_verdict'] for r in asyncio.run(main())])"
        done = script(code, **self.environment(settings(mock_server)))
        assert (done.stdout, done.stderr) == ("[1, 1, 1]\n", "")
        assert mock_server.engine.asleep

    def test_two_judges_in_one_loop_both_sleep_when_it_ends(self, mock_server_factory: Factory, settings: Make) -> None:
        one, two = mock_server_factory(), mock_server_factory(tokens_per_second=5_000)
        code = (
            self.SCORE
            + """
        async def both():
            for url in URLS:
                await compute_score("m", "2 + 2 = 4", "4", {"question": "2 + 2?"}, BASE_URL=url)
        asyncio.run(both())
        """
        )
        done = script(
            f"URLS = {[one.base_url, two.base_url]}\n" + textwrap.dedent(code), **self.environment(settings(one))
        )
        assert (done.stdout, done.stderr) == ("", "")
        assert one.engine.asleep
        assert two.engine.asleep

    def test_it_ends_in_the_middle(self, mock_server: MockServer, settings: Make) -> None:
        """All tasks are cancelled at once: leases, looks and the wake itself."""
        code = (
            self.SCORE
            + """
        async def some():
            async with asyncio.timeout(0.3) if hasattr(asyncio, "timeout") else nothing():
                await asyncio.gather(*(main() for _ in range(20)))
        class nothing:
            async def __aenter__(self): asyncio.get_running_loop().call_later(0.3, asyncio.current_task().cancel)
            async def __aexit__(self, *_): pass
        try:
            asyncio.run(some())
        except (TimeoutError, asyncio.CancelledError):
            print("over")
        """
        )
        with mock_server.faults({"fault": "hang"}):
            done = script(code, **self.environment(settings(mock_server)))
        assert (done.stdout, done.stderr) == ("over\n", "")
        assert mock_server.engine.asleep

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
    def test_a_fork_is_a_user_of_its_own(self, mock_server: MockServer, settings: Make) -> None:
        code = (
            self.SCORE
            + """
        async def parent():
            await main()
            child = os.fork()
            if not child:
                os._exit(run_as_child())
            status = await asyncio.to_thread(os.waitpid, child, 0)
            await main()
            return os.waitstatus_to_exitcode(status[1])
        def run_as_child():
            import threading
            codes = []
            thread = threading.Thread(target=lambda: codes.append(len(asyncio.run(main()))))
            thread.start(); thread.join()
            return codes[0]
        import warnings
        warnings.simplefilter("ignore", DeprecationWarning)  # of forking with threads
        print(asyncio.run(parent()))
        """
        )
        done = script(code, **self.environment(settings(mock_server)))
        assert (done.stdout, done.stderr) == ("3\n", "")
        assert mock_server.engine.asleep
        assert told(mock_server) == ["/sleep"]
        assert_manners(mock_server)
