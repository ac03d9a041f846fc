"""The ``hf-affscore`` command: parse, call one function, print.

Data goes to stdout, progress and messages to stderr. Each module here holds a few commands; nothing heavy is
imported before a command runs.
"""

from __future__ import annotations

import argparse
import atexit
import codecs
import errno
import io
import os
import signal
import sys
import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from types import FrameType
from typing import Any, NoReturn

from hf_affscore.cli.analyze import add_analyze, add_cache, add_demo, add_inspect
from hf_affscore.cli.arguments import Parser
from hf_affscore.cli.compare import add_compare, add_report
from hf_affscore.cli.diff import add_diff
from hf_affscore.cli.linearise import add_linearise
from hf_affscore.cli.publish import add_card, add_push
from hf_affscore.cli.rescore import add_rescore
from hf_affscore.cli.show import add_show
from hf_affscore.cli.skill import add_skill
from hf_affscore.cli.space import add_space
from hf_affscore.errors import AffscoreError, AffscoreWarning, redacted
from hf_affscore.metrics.command import add_metric
from hf_affscore.version import __version__


class _Terminated(BaseException):
    """The process was asked to end (SIGTERM)."""


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and exit.

    Exit codes: 0 done, 1 failed with a message, 2 wrong usage, 130 interrupted (Ctrl-C), 141 the reader of the
    output closed it (``| head``), 143 terminated (SIGTERM).
    """
    _prepare_stdout()
    arguments = parser().parse_args(argv)
    is_main = (
        os.environ.get("RANK", "0") == "0"
    )  # the number that torchrun and accelerate give a process; one prints
    _show_warnings_as_sentences(quiet=getattr(arguments, "quiet", False) or not is_main)
    signal.signal(signal.SIGTERM, _terminate)
    try:
        arguments.run(arguments)
        sys.stdout.flush()
    except AffscoreError as error:
        sys.exit(f"hf-affscore: error: {error}")
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else Python writes again on exit
        if isinstance(error, BrokenPipeError) or _is_windows_broken_pipe(error):
            sys.exit(141)
        what = "the output could not be written" if error.filename is None else "a file could not be used"
        sys.exit(f"hf-affscore: error: {what}: {redacted(str(error))}")
    except (KeyboardInterrupt, _Terminated) as stop:
        resume = getattr(arguments, "cache", False)
        hint = "; the same command again goes on where it stopped" if resume else ""
        print(f"\nhf-affscore: interrupted{hint}", file=sys.stderr)
        code = 130 if isinstance(stop, KeyboardInterrupt) else 143
        atexit.register(_exit_at_once, code)
        sys.exit(code)
    sys.exit(0)


def parser() -> argparse.ArgumentParser:
    """All commands with all their options."""
    root = Parser(
        prog="hf-affscore",
        description="How non-linear a vision network really is: the affinity score of each of its activations.",
    )
    root.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = root.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for add in (
        add_analyze,
        add_demo,
        add_inspect,
        add_rescore,
        add_linearise,
        add_show,
        add_compare,
        add_diff,
        add_report,
        add_push,
        add_card,
        add_space,
        add_metric,
        add_skill,
        add_cache,
    ):
        add(commands)
    return root


def _prepare_stdout() -> None:
    """Discard output where stdout is closed; replace characters that the terminal cannot show."""
    if sys.stdout is None:
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115  # for as long as the process lives
    if isinstance(sys.stdout, io.TextIOWrapper):
        codecs.register_error("hf_affscore", _in_other_characters)
        sys.stdout.reconfigure(errors="hf_affscore")


def _in_other_characters(error: UnicodeError) -> tuple[str, int]:
    """What is printed for characters that the terminal lacks; cp1252, of pipes on Windows, has no block."""
    assert isinstance(error, UnicodeEncodeError)
    lacking = error.object[error.start : error.end]
    return "".join({"█": "#", "·": ".", "…": "~"}.get(each, "?") for each in lacking), error.end


def _is_windows_broken_pipe(error: OSError) -> bool:
    """Windows says of a pipe whose reader is gone that the argument is invalid."""
    return os.name == "nt" and error.errno == errno.EINVAL and error.filename is None


def _exit_at_once(code: int) -> NoReturn:
    """Exit with ``code`` at once, without Python's own shutdown.

    Threads of libraries still run during that shutdown, and a SIGINT that was already handled ended one run in
    eight there, with another exit code.
    """
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError):
            stream.flush()
    os._exit(code)


def _terminate(number: int, frame: FrameType | None) -> NoReturn:
    raise _Terminated


def _show_warnings_as_sentences(*, quiet: bool) -> None:
    """Print this package's warnings without the source line that Python adds; leave others as they are."""
    usual: Callable[..., None] = warnings.showwarning

    def show(message: Warning | str, category: type[Warning], *where: Any) -> None:
        if not issubclass(category, AffscoreWarning):
            usual(message, category, *where)
        elif not quiet:
            print(f"hf-affscore: warning: {message}", file=sys.stderr)

    warnings.showwarning = show  # type: ignore[assignment]  # it passes on whatever it gets
