"""The `genrm` command: names the tools, nothing more."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.logging import RichHandler

from genrm import __version__
from genrm.errors import GenRMError, SettingsError
from genrm.settings import Settings
from genrm.workbench.doctor.launch import LaunchError
from genrm.workbench.inputs import Columns, Format
from genrm.workbench.judging import JudgeGone

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    # Its tracebacks print local variables: keys and prompts among them.
    pretty_exceptions_enable=False,
    epilog="Start with `genrm demo`, then `genrm score solutions.jsonl --out judged.jsonl`.",
)

offload = typer.Typer(
    no_args_is_help=True,
    epilog="All settings are GENRM_* variables. Exit codes: 0: done; 1: not done; 2: wrong usage or settings.",
)
app.add_typer(offload, name="offload", help="Who needs the judge awake; put it to sleep or wake it by hand.")

EXIT_JUDGE_GONE = 3
EXIT_INTERRUPTED = 130


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"genrm {__version__}")
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print it.")] = False,
) -> None:
    """A reward function that lets a generative reward model pay the rewards, and the tools around it."""


@app.command(epilog="Example: `genrm demo`")
def demo(
    seed: Annotated[int, typer.Option(help="The mock's seed: the same seed, the same verdicts.")] = 0,
    workers: Annotated[int, typer.Option(min=1, max=4096, help="Samples in flight at once.")] = 32,
) -> None:
    """Judge a bundled set of solutions against an embedded mock GenRM. Needs no server, no GPU and no network."""
    from genrm.workbench.demo import run_demo

    console = Console()
    # Samples without a verdict are in the table that comes at the end.
    _log_to(console, logging.ERROR)
    raise typer.Exit(run_demo(console, seed, workers))


@app.command(
    epilog="Examples:\n\n"
    "`genrm score solutions.jsonl --out judged.jsonl`\n\n"
    "`genrm score rollouts.parquet --out judged.jsonl --base-url http://gpu1:30000 --model-name judge`\n\n"
    "`genrm score example_model_solutions.jsonl --format gsm8k-solutions --out judged.jsonl`"
)
def score(
    file: Annotated[Path, typer.Argument(help="JSONL, or a parquet file of verl.", metavar="FILE")],
    out: Annotated[Path, typer.Option(help="Where the judged samples go, a JSON line each. Only ever appended to.")],
    base_url: Annotated[
        list[str] | None, typer.Option(help="Where the judge is served; may be repeated. Else GENRM_BASE_URL.")
    ] = None,
    model_name: Annotated[str | None, typer.Option(help="The served model name. Else GENRM_MODEL_NAME.")] = None,
    max_workers: Annotated[
        int | None, typer.Option(min=1, help="Samples in flight at once. Else GENRM_MAX_WORKERS.")
    ] = None,
    form: Annotated[Format, typer.Option("--format", help="auto: by the file's name.")] = Format.AUTO,
    problem_column: Annotated[str, typer.Option(help="Holds the problem.")] = Columns.problem,
    solution_column: Annotated[str, typer.Option(help="Holds the solution.")] = Columns.solution,
    label_column: Annotated[str, typer.Option(help="Holds whether the solution is right, if known.")] = Columns.label,
    answer_column: Annotated[str, typer.Option(help="Holds the ground truth, if known.")] = Columns.answer,
    id_column: Annotated[str, typer.Option(help="Holds the sample's id; else it is the line number.")] = Columns.id,
) -> None:
    """Judge a file of solutions, each exactly once.

    Safe to kill and to run again: what OUT holds is not judged again. A bad line is reported with its number, and the
    rest goes on.

    All settings are GENRM_* variables, too: GENRM_API_KEY, GENRM_MAX_RETRIES, GENRM_INCLUDE_REFERENCE and so on.

    Exit codes:

    - 0: all is judged
    - 1: there were bad lines, or samples that the judge did not reply to
    - 2: wrong usage, settings or files
    - 3: the judge is gone
    - 130: interrupted
    """
    from genrm.workbench.score import score_file

    console = Console(stderr=True)
    _log_to(console, logging.WARNING)
    given = {"base_url": base_url or None, "model_name": model_name, "max_workers": max_workers}
    columns = Columns(problem_column, solution_column, label_column, answer_column, id_column)
    try:
        settings = Settings.load(**{name: value for name, value in given.items() if value is not None})
        code = score_file(file, out, settings, form, columns, console)
    except JudgeGone as error:
        _say(console, f"the judge is gone: {error}\nWhat was judged is in {out}; run the same command again to go on.")
        code = EXIT_JUDGE_GONE
    except GenRMError as error:
        _say(console, str(error))
        code = 2
    except KeyboardInterrupt:
        _say(console, f"interrupted; what was judged is in {out}. Run the same command again to go on.")
        code = EXIT_INTERRUPTED
    raise typer.Exit(code)


@app.command(
    epilog="Examples:\n\n"
    "`genrm doctor`\n\n"
    "`genrm doctor --config train.sh`\n\n"
    "`genrm doctor --config outputs/2026-01-31/12-00-00/.hydra/config.yaml --verl 0.9.1`"
)
def doctor(
    config: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", help="A launch script or a configuration of verl; may be repeated."),
    ] = None,
    verl: Annotated[
        str | None, typer.Option(metavar="VERSION", help="Else the installed one, else the newest.")
    ] = None,
    round_trip: Annotated[
        bool | None,
        typer.Option(help="Put the judge to sleep and wake it. Else as GENRM_USE_OFFLOAD says.", show_default=False),
    ] = None,
    timeout: Annotated[float, typer.Option(min=0.1, help="Seconds that a reply of the judge may take, at most.")] = 60,
) -> None:
    """Look whether judge, settings and verl fit together, and say how to mend what does not.

    Asks the servers that GENRM_* variables name (and CONFIG, where it is given). Nothing is changed, but with
    --round-trip, or GENRM_USE_OFFLOAD, the judge sleeps for a moment, unless somebody needs it.

    Exit codes:

    - 0: nothing has failed
    - 1: something has failed
    - 2: wrong usage
    - 130: interrupted
    """
    from genrm.workbench.doctor.examination import Wish, examine

    wish = Wish(config or (), verl, round_trip, timeout)
    raise typer.Exit(_run(lambda console: examine(wish, console), logging.CRITICAL))


@offload.command()
def status() -> None:
    """Show whether the judge sleeps, and who holds leases."""
    from genrm.workbench.offloading import show_status

    raise typer.Exit(_run(lambda console: show_status(Settings.load(), console), logging.WARNING))


@offload.command()
def sleep(
    force: Annotated[bool, typer.Option("--force", help="Also while somebody holds a lease.")] = False,
) -> None:
    """Put the judge to sleep now; refused while somebody holds a lease. For before training starts."""
    from genrm.workbench.offloading import put_to_sleep

    raise typer.Exit(_run(lambda console: put_to_sleep(Settings.load(), console, force), logging.WARNING))


@offload.command()
def wake() -> None:
    """Wake the judge. It stays awake until a run that uses it lets it sleep."""
    from genrm.workbench.offloading import wake_up

    raise typer.Exit(_run(lambda console: wake_up(Settings.load(), console), logging.WARNING))


def _run(tool: Callable[[Console], Coroutine[object, object, int]], log_level: int) -> int:
    """Run a tool that prints to stdout. Returns the exit code."""
    console, errors = Console(highlight=False), Console(stderr=True)
    _log_to(errors, log_level)
    # What it logs it raises, too.
    logging.getLogger("genrm.offload.lease").setLevel(logging.CRITICAL)
    try:
        return asyncio.run(tool(console))
    except (SettingsError, LaunchError) as error:
        _say(errors, str(error))
        return 2
    except GenRMError as error:
        _say(errors, str(error))
        return 1
    except KeyboardInterrupt:
        _say(errors, "interrupted")
        return EXIT_INTERRUPTED


def _log_to(console: Console, level: int) -> None:
    """Print what genrm logs between the lines of the console, where it does not tear its progress bar."""
    log = logging.getLogger("genrm")
    log.setLevel(level)
    log.addHandler(RichHandler(console=console, show_time=False, show_path=False))


def _say(console: Console, text: str) -> None:
    console.print(text, style="red", markup=False, highlight=False, soft_wrap=True)


if __name__ == "__main__":
    app()
