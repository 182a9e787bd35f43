"""Train a tiny model from scratch and say how good it is.

python -m tiny judge                      reads our prompt and writes a verdict; about two minutes on two cores
python -m tiny judge --shuffled           learned the replies to other prompts: writes verdicts that mean nothing
python -m tiny policy                     is right about three times in ten
python -m tiny judge --out DIR --seed 1   somewhere else than in .cache/tiny, by another seed

Exits with 1, and keeps nothing, where it is not good enough: a judge under 98 % on the held-out cases (shuffled: above
70 %), a policy outside of 0.2 to 0.4.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from rich.console import Console

from tiny import domain, judge
from tiny.shelf import NotGoodEnoughError, get_judge, get_policy


def main() -> None:
    """Train what the command line asks for."""
    parser = argparse.ArgumentParser("python -m tiny", None, __doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("what", choices=("judge", "policy"))
    parser.add_argument("--out", type=Path, help="the folder for it (one in .cache/tiny)")
    parser.add_argument("--seed", type=int, default=0, help="(0)")
    parser.add_argument("--steps", type=int, default=judge.STEPS, help=f"of the judge's training ({judge.STEPS})")
    parser.add_argument("--shuffled", action="store_true", help="teach the judge nonsense")
    given = parser.parse_args()
    console = Console()
    if given.what == "policy":
        folder = get_policy(given.seed, console, given.out)
    else:
        folder = get_judge(given.seed, console, shuffled=given.shuffled, steps=given.steps, out=given.out)
        every = [domain.Case(triple.problem, triple.problem.solution(triple.number)) for triple in domain.triples()]
        console.print(judge.grade(folder, every).in_words("triples"), highlight=False)
    console.print(str(folder), highlight=False, soft_wrap=True)


if __name__ == "__main__":
    try:
        main()
    except NotGoodEnoughError as error:
        sys.exit(f"FAILED: {error}")
    except KeyboardInterrupt:
        sys.exit("interrupted")
