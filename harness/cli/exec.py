# SPDX-License-Identifier: GPL-2.0-only
"""`ttm-harness exec`: one command in a guest, as if it were one of this host's."""

from __future__ import annotations

import sys

import click

from harness.cli.guests import GuestOptions, Input, Written, guest_options, status_of, wanted_guest
from harness.cli.plainly import speaks_plainly


class _OfRun(click.Command):
    """`RUN -- COMMAND`: a single word before `--` is the RUN. From COMMAND's first word on all is COMMAND's."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        at = args.index("--") if "--" in args else len(args)
        said, _, _ = self.make_parser(ctx).parse_args(args[:at])
        words = found if isinstance(found := said.get("command"), tuple) else ()
        begins = at - len(words)
        if len(words) == 1 and args[at + 1 :]:
            args = [*args[:begins], "--of", *words, *args[at:]]
        elif words:
            args = [*args[:begins], "--", *args[begins:]]
        return super().parse_args(ctx, args)


@click.command("exec", cls=_OfRun, context_settings={"allow_interspersed_args": False})
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED, metavar="[RUN[/BOOT]] [--] COMMAND…")
@click.option("--of", "run", default="", hidden=True)
@click.option("--timeout", type=click.FloatRange(0.0, min_open=True), metavar="SECONDS", help="Then it is killed.")
@speaks_plainly
@guest_options
def exec(command: tuple[str, ...], run: str, timeout: float | None, wanted: GuestOptions) -> None:
    """Run one command in a guest and end with its status; its input and output are this one's.

    With RUN and `--` before COMMAND the guest is like the one of a kept run's BOOT, as of `shell`.

    No shell reads COMMAND; `sh -c '…'` is one that does. What the kernel says meanwhile is told on standard error.

    \b
    Exit status: the command's, 128 and a signal's number, 2 a mistake in the input, 3 the guest ended
    or the command could not be started or was killed after --timeout.
    """
    out, err = Written(sys.stdout.buffer), Written(sys.stderr.buffer)
    with wanted_guest(wanted, run) as guest:
        ended = guest.run(command, timeout=timeout, input=Input(), out=out, err=err)
    sys.exit(status_of(ended.status, ended.signal))
