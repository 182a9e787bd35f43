"""A real GRPO run on CPU, judged by a model that was trained here, and whether the policy learned.

python -m rl                                 three seeds by the mock, three by the trained judge behind real vLLM,
                                             and one by a judge that knows nothing, which must not learn
python -m rl --short                         one seed by the mock: some minutes, for CI
python -m rl --judge hf --seeds 1            one seed by the trained judge behind Hugging Face generate
python -m rl --judge mock --trainer v1 v0    by both of verl's trainers; v0, the older one, is quicker
python -m rl agree                           vLLM's verdicts and Hugging Face's on all 1,900 cases
python -m rl compare                         a fifth of the calls gets no verdict: as zeros, and left out (genrm_grpo)

Run by the Python that verl is installed for; --judge-python names the one that vLLM is installed for. Exits with 1, and
says why, where the reward or the rule's score does not rise, a sample was dropped, or a reward is not the judge's.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from rich.console import Console

from genrm.settings import PREFIX
from judges.host import LeftBehindError, StartError
from rl import command, experiments
from rl.lab import CONTROL, Lab
from rl.runs import RunError
from tiny.shelf import NotGoodEnoughError


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        "python -m rl", None, __doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", nargs="?", choices=WHAT, default="learn", help="(learn)")
    parser.add_argument("--judge", nargs="+", choices=JUDGES, default=["mock", "vllm", "control"], help="one or more")
    parser.add_argument("--judge-python", default=sys.executable, metavar="PATH", help="the Python that has vLLM")
    parser.add_argument("--trainer", nargs="+", choices=("v1", "v0"), default=["v1"], help="verl's (v1, its default)")
    parser.add_argument("--seed", type=int, default=0, help="the first (0)")
    parser.add_argument("--seeds", type=int, default=3, help="how many (3)")
    parser.add_argument("--steps", type=int, default=command.Plan.steps, help=f"of a run ({command.Plan.steps})")
    parser.add_argument("--short", action="store_true", help="one seed by the mock")
    parser.add_argument(
        "--work", type=Path, default=command.ROOT / ".cache" / "rl", help="for logs, rollouts, pictures"
    )
    given = parser.parse_args()
    if given.short:
        given.judge, given.seeds = ["mock"], 1
    return given


JUDGES = ("mock", "hf", "vllm", CONTROL)
"""The last is one that knows nothing."""
WHAT: dict[str, Callable[[Lab], list[str]]] = {
    "learn": experiments.learn,
    "agree": experiments.agree,
    "compare": experiments.compare,
}


def main() -> int:
    """Do what the command line asks for. Returns the exit code."""
    given = arguments()
    for name in [name for name in os.environ if name.startswith(PREFIX)]:
        del os.environ[name]  # a judge of the caller's has no part in this
    console = Console()
    lab = Lab(
        console=console,
        judges=given.judge,
        judge_python=given.judge_python,
        trainers=given.trainer,
        seeds=range(given.seed, given.seed + given.seeds),
        steps=given.steps,
        work=given.work.resolve(),
    )
    complaints = WHAT[given.what](lab)
    for complaint in complaints:
        console.print(f"FAILED: {complaint}", style="bold red", markup=False, highlight=False, soft_wrap=True)
    return int(bool(complaints))


if __name__ == "__main__":
    # However this ends, verl and the judge end with it.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        sys.exit(main())
    except (RunError, StartError, LeftBehindError, NotGoodEnoughError) as error:
        sys.exit(f"FAILED: {error}")
    except KeyboardInterrupt:
        sys.exit("interrupted")
