# SPDX-License-Identifier: GPL-2.0-only
"""What a verb raises -> a sentence on standard error and the promised exit status."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec

import click

from harness.model.errors import FindingError, HarnessError, OutputFailed, UserError
from harness.store.files import explain_os_error

P = ParamSpec("P")

EXIT_FINDING = 1
EXIT_USER = 2
EXIT_CANNOT_TELL = 3
EXIT_INTERRUPTED = 130
EXIT_PIPE = 141  # what a shell makes of SIGPIPE


def exit_status_of(error: HarnessError) -> int:
    """A user's mistake is 2. A source that does not build says nothing about a series without its base: 3."""
    if isinstance(error, OutputFailed) and error.nobody_reads:
        return EXIT_PIPE
    return EXIT_USER if isinstance(error, UserError) else EXIT_CANNOT_TELL


def explain(error: HarnessError) -> str:
    """The error as it is shown: the sentence, the hint, the log."""
    # What it quotes may have several lines; none of them may look like one of ours.
    message = error.message.replace("\n", "\n    ")
    lines = [f"ttm-harness: {message}"]
    if error.hint:
        lines.append(f"  hint: {error.hint}")
    if error.log is not None:
        lines.append(f"  log: {error.log}")
    lines += [f"  note: {note}" for note in getattr(error, "__notes__", ())]
    return "\n".join(lines)


def tell(text: str) -> None:
    """On standard error, where somebody listens there: an error that cannot be told keeps its exit status."""
    try:
        click.echo(text, err=True)
    except (OSError, ValueError):
        pass


def speaks_plainly(command: Callable[P, None]) -> Callable[P, None]:
    """Turns what a verb raises into a sentence on standard error and the promised exit status."""

    @wraps(command)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            command(*args, **kwargs)
        except (click.ClickException, click.exceptions.Exit):
            raise  # click has sentences of its own
        except click.Abort:  # Ctrl-C or Ctrl-D where something was asked
            tell("\nttm-harness: not answered, so nothing was begun")
            sys.exit(EXIT_INTERRUPTED)
        except HarnessError as error:
            if not isinstance(error, OutputFailed) or not error.nobody_reads:
                tell(explain(error))
            if isinstance(error, FindingError):
                tell("  nothing can be said without a kernel that was built: cannot tell")
            sys.exit(exit_status_of(error))
        except KeyboardInterrupt:
            tell("ttm-harness: interrupted; guests were ended, finished builds are kept")
            sys.exit(EXIT_INTERRUPTED)
        except OSError as error:
            tell(explain(explain_os_error(error, str(error.filename or "the host"))))
            sys.exit(EXIT_CANNOT_TELL)
        except MemoryError:
            tell(
                "ttm-harness: this host has not enough memory for that\n  hint: end what takes it, or lift the limit"
            )
            sys.exit(EXIT_CANNOT_TELL)
        except Exception as error:  # the one place: a bug of the harness must not look like a verdict
            tell(traceback.format_exc())
            tell(f"ttm-harness: a bug of the harness itself, please report it: {error!r}")
            sys.exit(EXIT_CANNOT_TELL)

    return wrapped
