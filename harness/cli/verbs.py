# SPDX-License-Identifier: GPL-2.0-only
"""All verbs in one command, and how it is called and ends."""

from __future__ import annotations

import importlib
import os
import resource
import signal
import sys
import time
from types import FrameType

import click

from harness import __version__
from harness.cli import is_ignored
from harness.cli.outlets import stand_up
from harness.cli.plainly import EXIT_CANNOT_TELL, EXIT_INTERRUPTED, EXIT_PIPE, EXIT_USER, explain, tell
from harness.cli.streams import make_visible
from harness.model.errors import OutputFailed
from harness.proc import hurry
from harness.store.temporary import own_temporary_directory

# What a first Ctrl-C begins has ended by then, unless the exception was lost on its way.
_LOST_SECONDS = 60.0


# A verb and the first sentence of its help: so that `--help` and each verb start without the imports of the others.
VERBS = {
    "bisect": "Find the first bad patch, revision, commit or release.",
    "compare": "Compare two sets of kept runs, case by case, event by event, figure by figure.",
    "controls": "Put bugs into the kernel on purpose and see whether the suite that looks for them turns...",
    "doctor": "What this host can do, what is missing, and the exact command that installs it.",
    "exec": "Run one command in a guest and end with its status; its input and output are this one's.",
    "frontier": "Find the line on two axes where a kernel begins to fail.",
    "history": "Bring bugs of the past back into the kernel, one by one, and see what notices them.",
    "inspect": "A look into the memory that `run --keep-state` kept of a guest, with drgn.",
    "minimise": "Make a kept boot that failed as small as it can be.",
    "nightly": "Find new kernels and revisions, run what is missing, compare, publish; safe to kill and...",
    "parse": "The parsers alone, on a saved log.",
    "report": "The report of a kept RUN (its directory, its name, the end of its name, or `latest`).",
    "repro": "Make a kept boot again: the same kernel, machine, cases, knobs and seed.",
    "results": "The kept runs: listed, one case over all of them, removed when they are old.",
    "run": "Build a kernel, boot it small, run suites in it, and say what came out.",
    "shell": "A shell on a terminal in a guest, which is there until the shell ends.",
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


def _tell_version(context: click.Context) -> None:
    if not context.resilient_parsing:
        from harness.checkout import commit

        click.echo(f"ttm-harness, version {__version__} (commit {commit()})")
        context.exit()


@click.group(cls=_Verbs, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=lambda context, _, wanted: _tell_version(context) if wanted else None,
    help="Show the version and its commit, and exit.",
)
def cli() -> None:
    """Does this kernel patch series survive memory pressure?

    \b
    Exit status: 0 all that was required ran and is good; 1 a finding; 2 a mistake in the input;
    3 could not tell; 130 interrupted. Results go to standard output, progress to standard error.
    """


class Interruption:
    """A handler of signals. The first one raises KeyboardInterrupt, and guests are ended politely. What comes after
    it must not cut that short: it only takes the patience out of it.

    It raises only inside of its `with`: what came before waits for that, what comes afterwards is too late.
    """

    def __init__(self) -> None:
        self._first: float | None = None
        self._raises = False

    def __call__(self, _: int, __: FrameType | None) -> None:
        now = time.monotonic()
        if self._first is not None:
            hurry()
            if now - self._first < _LOST_SECONDS:
                return
        self._first = now
        if self._raises:
            raise KeyboardInterrupt

    def __enter__(self) -> None:
        self._raises = True
        if self._first is not None:
            self._raises = False
            raise KeyboardInterrupt

    def __exit__(self, *_: object) -> None:
        self._raises = False


def call() -> None:
    """Does what the command line says, and ends the process with the status of that."""
    # What dies here dies of its own; gigabytes of its memory are no use to anybody.
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    stand_up()
    make_visible()
    # A polite end is like Ctrl-C: guests are ended, disk images removed.
    taken = [number for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP) if not is_ignored(number)]
    handler = Interruption()
    for number in taken:
        signal.signal(number, handler)
    with own_temporary_directory():
        status = _status(handler)
    for number in taken:  # all is said and done
        signal.signal(number, signal.SIG_IGN)
    try:
        sys.stdout.flush()
    except OutputFailed as error:
        status = _of_output(error, EXIT_CANNOT_TELL)
    if status == EXIT_PIPE:
        _end_as_others_do()
    # An interruption in a module that was being imported is kept in mind by CPython (unhandled_keyboard_interrupt in
    # Python/pythonrun.c), which ends by SIGINT then, whatever status is asked for; to run any code forgets it.
    exec("")
    sys.exit(status)


def _status(handler: Interruption) -> int:
    """click's own errors are mistakes in the command line, whatever status it would give them."""
    try:
        with handler:
            ended = cli.main(prog_name="ttm-harness", standalone_mode=False)
        return ended if isinstance(ended, int) else 0
    except SystemExit as ending:
        return ending.code if isinstance(ending.code, int) else EXIT_CANNOT_TELL
    except click.ClickException as error:
        error.show()
        return EXIT_USER
    except (click.Abort, KeyboardInterrupt):
        tell("ttm-harness: interrupted")
        return EXIT_INTERRUPTED
    except OutputFailed as error:  # help that was asked for has no verdict that could get lost
        return _of_output(error, EXIT_USER)


def _of_output(error: OutputFailed, status: int) -> int:
    if error.nobody_reads:
        return EXIT_PIPE
    tell(explain(error))
    return status


def _end_as_others_do() -> None:
    """By SIGPIPE, quietly: a shell gives 141."""
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    os.kill(os.getpid(), signal.SIGPIPE)
    os._exit(EXIT_PIPE)  # the first process of a container cannot be ended by it
