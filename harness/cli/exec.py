# SPDX-License-Identifier: GPL-2.0-only
"""`ttm-harness exec`: one command in a guest, as if it were one of this host's."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import click

from harness.cli.containment import UNTRUSTED, look_at_containment
from harness.cli.machine_axes import machine_axes
from harness.cli.plainly import speaks_plainly, tell
from harness.cli.progress import TerminalProgress
from harness.model.errors import UserError
from harness.store.layout import Layout

if TYPE_CHECKING:  # what is imported where it is used: the help waits for none of it
    from harness.flow.planfile import MachineAxes

_SIGNAL = 128  # as a shell has it


@click.command("exec", context_settings={"allow_interspersed_args": False})
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED, metavar="[--] COMMAND…")
@click.option("--source", default="debian", show_default=True, help="As of `run`.")
@click.option("--series", help="As of `run`; --source is its base.")
@click.option("--mirror", type=click.Path(path_type=Path, file_okay=False, exists=True), help="As of `run`.")
@click.option("--profile", default="lean", show_default=True, help="A profile of kernel-configs/profiles.toml.")
@click.option(
    "--fragment",
    "fragments",
    multiple=True,
    type=click.Path(path_type=Path),
    help="Your own Kconfig fragment, on top of the profile.",
)
@click.option("--timeout", type=click.FloatRange(0.0, min_open=True), metavar="SECONDS", help="Then it is killed.")
@click.option("--jobs", type=click.IntRange(1, 1024), help="make -j; the number of cores when not given.")
@UNTRUSTED
@click.option("--quiet", is_flag=True, help="No progress.")
@speaks_plainly
@machine_axes
def exec(
    command: tuple[str, ...],
    source: str,
    series: str | None,
    mirror: Path | None,
    profile: str,
    fragments: tuple[Path, ...],
    machine: MachineAxes,
    timeout: float | None,
    jobs: int | None,
    untrusted: bool,
    quiet: bool,
) -> None:
    """Run one command in a guest and end with its status; its input and output are this one's.

    No shell reads COMMAND; `sh -c '…'` is one that does. What the kernel says meanwhile is told on standard error.

    \b
    Exit status: the command's, 128 and a signal's number, 2 a mistake in the input, 3 the guest ended
    or the command could not be started or was killed after --timeout.
    """
    from harness.flow.live import guest_of
    from harness.flow.planfile import Axes, OptionalSeries, ProfileName
    from harness.flow.plans import Extras, plain_request
    from harness.model.series import SeriesSpec
    from harness.model.tree import SourceSpec

    said = Axes(
        source=(SourceSpec.parse(source),),
        series=() if series is None else (OptionalSeries(SeriesSpec.parse(series)),),
        profile=(ProfileName(profile),),
        machine=machine,
    )
    requests = plain_request(said, Extras(fragments, mirror))
    if len({one.machine for one in requests}) > 1:
        raise UserError("a command runs in one guest", hint="give each option of the machine once")
    look_at_containment(untrusted)
    layout = Layout.from_environment()
    progress = TerminalProgress(quiet=quiet)
    request = requests[0]
    try:
        with guest_of(request.kernel, request.machine, layout, progress, jobs=jobs) as guest:
            progress.close()
            with guest.allow_event() as events:
                ended = guest.run(
                    command,
                    timeout=timeout,
                    input=_Input(),
                    out=_Written(sys.stdout.buffer),
                    err=_Written(sys.stderr.buffer),
                )
    finally:
        progress.close()
    for event in events:
        tell(f"ttm-harness: the guest's kernel said: {event.title}")
    if events:
        tell(f"  log: {guest.console}")
    sys.exit(_SIGNAL + ended.signal if ended.signal else ended.status)


class _Input:
    """Standard input, as it comes."""

    def read(self, size: int, /) -> bytes:
        return os.read(0, size)


class _Written:
    """A stream that gets each piece at once."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream

    def __call__(self, piece: bytes) -> None:
        self._stream.write(piece)
        self._stream.flush()
