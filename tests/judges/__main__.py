"""Bring a judge up by hand: `python -m judges --server mock`. It stays until Ctrl-C."""

from __future__ import annotations

import argparse
import signal
import sys

from rich.console import Console

from judges.host import LeftBehindError, StartError
from judges.launch import gpu_lacks, lacks, launched
from judges.options import Options, add_options
from judges.programs import KINDS

EXAMPLES = """\
servers:
{servers}

examples:
  nox -s gpu_e2e                                        # vLLM on this machine's GPU
  nox -s gpu_e2e -- --server sglang --dp-size 2
  nox -s gpu_e2e -- --docker --image vllm/vllm-openai --tag v0.32.0
  nox -s gpu_e2e -- --server mock -k sleep              # without a GPU, by the mock; -k and -x go to pytest
  nox -s gpu_e2e -- --server hf                         # a tiny judge that is trained here
  JUDGE_PYTHON=/opt/vllm/bin/python nox -s gpu_e2e      # a vLLM that is there already
  nox -s gpu_e2e -- --skip-if-missing                   # exit code 0 where there is no GPU
  nox -s gpu_e2e -- --no-grpo                           # without the GRPO run, for which a GPU's server gets a trainer
  nox -s gpu_e2e -- --server mock --grpo                # with the GRPO run; installs verl for CPU
  TRAINER_PYTHON=/opt/verl/bin/python nox -s gpu_e2e    # a verl that is there already
  nox -s gpu_e2e -- --policy Qwen/Qwen2.5-0.5B-Instruct # what that trains on a GPU
  python -m judges --server mock                        # the judge alone, by hand, until Ctrl-C
"""
MISSING = 3
"""Exit code where this machine lacks something."""


def main() -> int:
    """Returns the exit code."""
    servers = "\n".join(f"  {kind.name:12}  {kind.about}" for kind in KINDS.values())
    parser = argparse.ArgumentParser(
        prog="python -m judges",
        description=__doc__,
        epilog=EXAMPLES.format(servers=servers),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_options(parser.add_argument, list(KINDS))
    parser.add_argument(
        "--check",
        choices=("gpu", "all"),
        help=f"only say what is missing here (a GPU, or anything), with exit code {MISSING}",
    )
    given, others = parser.parse_known_args()
    if others and not given.check:  # which may be given what goes to pytest, too
        parser.error(f"unrecognized arguments: {' '.join(others)}")
    options = Options.of(given)
    if reason := gpu_lacks(options) if given.check == "gpu" else lacks(options):
        print(reason)
        return MISSING
    if not given.check:
        _serve(options)
    return 0


def _serve(options: Options) -> None:
    console = Console()
    try:
        with launched(options, console) as judge:
            for variable in (
                f"GENRM_BASE_URL={judge.url}",
                f"GENRM_MODEL_NAME={judge.model_name}",
                f"GENRM_SERVER_BACKEND={judge.backend}",
            ):
                console.print(f"export {variable}", highlight=False, soft_wrap=True)
            if not options.keep:
                console.print("Ctrl-C ends it")
                signal.pause()
    except KeyboardInterrupt:
        pass


if __name__ == "__main__":
    # However this ends, the judge ends with it.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        sys.exit(main())
    except (StartError, LeftBehindError) as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit("interrupted")
