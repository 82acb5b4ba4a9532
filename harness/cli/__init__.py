# SPDX-License-Identifier: GPL-2.0-only
"""The verbs: the only place that prints and exits."""

from __future__ import annotations

import importlib
import signal
import sys
import traceback
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec

import click

from harness import __version__
from harness.model.errors import FindingError, HarnessError, UserError
from harness.store.files import explain_os_error

P = ParamSpec("P")

EXIT_FINDING = 1
EXIT_USER = 2
EXIT_CANNOT_TELL = 3
EXIT_INTERRUPTED = 130


def exit_status_of(error: HarnessError) -> int:
    """A user's mistake is 2. A source that does not build says nothing about a series without its base: 3."""
    return EXIT_USER if isinstance(error, UserError) else EXIT_CANNOT_TELL


def explain(error: HarnessError) -> str:
    """The error as it is shown: the sentence, the cure, the log."""
    lines = [f"ttm-harness: {error.message}"]
    if error.hint:
        lines.append(f"  cure: {error.hint}")
    if error.log is not None:
        lines.append(f"  log: {error.log}")
    lines += [f"  note: {note}" for note in getattr(error, "__notes__", ())]
    return "\n".join(lines)


def speaks_plainly(command: Callable[P, None]) -> Callable[P, None]:
    """Turns what a verb raises into a sentence on standard error and the promised exit status."""

    @wraps(command)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            command(*args, **kwargs)
        except HarnessError as error:
            click.echo(explain(error), err=True)
            if isinstance(error, FindingError):
                click.echo("  nothing can be said without a kernel that was built: cannot tell", err=True)
            sys.exit(exit_status_of(error))
        except KeyboardInterrupt:
            click.echo("ttm-harness: interrupted; guests were ended, finished builds are kept", err=True)
            sys.exit(EXIT_INTERRUPTED)
        except BrokenPipeError:
            sys.stderr.close()
            sys.exit(EXIT_CANNOT_TELL)
        except OSError as error:
            click.echo(explain(explain_os_error(error, str(error.filename or "the host"))), err=True)
            sys.exit(EXIT_CANNOT_TELL)
        except Exception as error:  # the one place: a bug of the harness must not look like a verdict
            traceback.print_exc()
            click.echo(f"ttm-harness: a bug of the harness itself, please report it: {error!r}", err=True)
            sys.exit(EXIT_CANNOT_TELL)

    return wrapped


# A verb and the first sentence of its help: so that `--help` and each verb start without the imports of the others.
VERBS = {
    "compare": "Compare two sets of kept runs, case by case, event by event, figure by figure.",
    "controls": "Put each bug of patches/controls into the kernel and see whether the suite that looks...",
    "doctor": "What this host can do, what is missing, and the exact command that installs it.",
    "parse": "The parsers alone, on a saved log.",
    "report": "The report of a kept RUN (its directory, its name, the end of its name, or `latest`).",
    "results": "The kept runs: listed, one case over all of them, removed when they are old.",
    "run": "Build a kernel, boot it small, run suites in it, and say what came out.",
    "series": "A patch series: what it is, what changed between two revisions.",
}


class _Verbs(click.Group):
    """A group whose commands are imported when they are called: harness.cli.NAME has the command NAME."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in VERBS:
            return None
        command = getattr(importlib.import_module(f"harness.cli.{cmd_name}"), cmd_name)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(sorted(VERBS.items()))


@click.group(cls=_Verbs, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="ttm-harness")
def cli() -> None:
    """Does this kernel patch series survive memory pressure?

    \b
    Exit status: 0 all that was required ran and is good; 1 a finding; 2 a mistake in the input;
    3 could not tell; 130 interrupted. Results go to standard output, progress to standard error.
    """


def main() -> None:
    """The entry point."""
    # A polite end is like Ctrl-C: guests are ended, disk images removed.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.default_int_handler)
    cli(prog_name="ttm-harness")
