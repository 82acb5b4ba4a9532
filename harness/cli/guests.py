# SPDX-License-Identifier: GPL-2.0-only
"""What the verbs with a live guest have in common: the options that say which kernel and machine, and the guest."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import click

from harness.cli import completion
from harness.cli.containment import UNTRUSTED, look_at_containment
from harness.cli.machine_axes import machine_axes
from harness.cli.plainly import tell
from harness.cli.progress import TerminalProgress
from harness.model.build import DEFAULT_PROFILE
from harness.model.errors import UserError
from harness.store.layout import Layout

if TYPE_CHECKING:  # what is imported where it is used: the help waits for none of it
    from harness.flow.live import LiveGuest
    from harness.flow.planfile import MachineAxes
    from harness.model.event import Event

_SIGNAL = 128  # as a shell has it
_MOST_CASES = 3  # that are named


@dataclass(frozen=True, slots=True)
class GuestOptions:
    """What the options of `guest_options` say."""

    source: str | None
    series: str | None
    mirror: Path | None
    profile: str | None
    fragments: tuple[Path, ...]
    root: str
    jobs: int | None
    untrusted: bool
    quiet: bool
    machine: MachineAxes


def guest_options(command: Callable[..., None]) -> Callable[..., None]:
    """Gives a command the options, and makes of them its argument `wanted`."""

    @machine_axes
    @functools.wraps(command)
    def with_wanted(**options: object) -> None:
        own = {name: options.pop(name) for name in GuestOptions.__dataclass_fields__}
        command(wanted=GuestOptions(**own), **options)  # type: ignore[arg-type]

    decorated: Callable[..., None] = with_wanted
    for option in reversed(_OPTIONS):
        decorated = option(decorated)
    return decorated


_OPTIONS = (
    click.option("--source", shell_complete=completion.sources, help="As of `run`.  [default: that of `run`]"),
    click.option("--series", help="As of `run`; --source is its base."),
    click.option("--mirror", type=click.Path(path_type=Path, file_okay=False, exists=True), help="As of `run`."),
    click.option("--profile", help="A profile of kernel-configs/profiles.toml.  [default: lean]"),
    click.option(
        "--fragment",
        "fragments",
        multiple=True,
        type=click.Path(path_type=Path),
        help="Your own Kconfig fragment, on top of the profile.",
    ),
    click.option(
        "--root",
        default="busybox",
        show_default=True,
        metavar="ROOT",
        help="What COMMAND runs in: busybox, debian:SUITE[+PACKAGE…], dir:PATH or tar:FILE.",
    ),
    click.option("--jobs", type=click.IntRange(1, 1024), help="make -j; the number of cores when not given."),
    UNTRUSTED,
    click.option("--quiet", is_flag=True, help="No progress."),
)


@contextmanager
def wanted_guest(wanted: GuestOptions, boot: str = "") -> Iterator[LiveGuest]:
    """The guest, once it is there: of the options, or like a boot of a kept run. What its kernel says meanwhile is
    told on standard error afterwards.
    """
    from harness.flow.live import ConsoleCut

    progress = TerminalProgress(quiet=wanted.quiet)
    events: list[Event] = []
    try:
        with _guest_like(wanted, boot, progress) if boot else _guest_of_options(wanted, progress) as guest:
            progress.close()
            with guest.allow_event() as events:
                yield guest
    except ConsoleCut as error:  # which is no word on the command
        tell(f"ttm-harness: {error.message}")
    finally:
        progress.close()
    for event in events:
        tell(f"ttm-harness: the guest's kernel said: {event.title}")
    if events:
        tell(f"  log: {guest.console}")


@contextmanager
def _guest_of_options(wanted: GuestOptions, progress: TerminalProgress) -> Iterator[LiveGuest]:
    from harness.flow.live import guest_of
    from harness.flow.planfile import Axes, OptionalSeries, ProfileName
    from harness.flow.plans import Extras, default_source, plain_request
    from harness.model.root import RootSpec
    from harness.model.series import SeriesSpec
    from harness.model.tree import SourceSpec

    root = RootSpec.parse(wanted.root)
    source = default_source(progress) if wanted.source is None else SourceSpec.parse(wanted.source)
    said = Axes(
        source=(source,),
        series=() if wanted.series is None else (OptionalSeries(SeriesSpec.parse(wanted.series)),),
        profile=(ProfileName(wanted.profile or DEFAULT_PROFILE),),
        machine=wanted.machine,
    )
    requests = plain_request(said, Extras(wanted.fragments, wanted.mirror))
    if len({one.machine for one in requests}) > 1:
        raise UserError("a command runs in one guest", hint="give each option of the machine once")
    look_at_containment(wanted.untrusted)
    layout = Layout.from_environment()
    request = requests[0]
    kernel, machine = request.kernel, request.machine
    with guest_of(kernel, machine, layout, progress, jobs=wanted.jobs, root=root) as guest:
        yield guest


@contextmanager
def _guest_like(wanted: GuestOptions, name: str, progress: TerminalProgress) -> Iterator[LiveGuest]:
    """Says on standard error what is not as it was in that boot, and how its cases are run again."""
    from harness.flow.kept_boot import find_boot
    from harness.flow.recreate import recreated_guest

    of_kernel = (wanted.source, wanted.series, wanted.mirror, wanted.profile)
    if any(one is not None for one in of_kernel) or wanted.fragments or wanted.machine.axes:
        raise UserError(
            f"kernel and machine are those of {name}", hint="no option of them beside a RUN, or no RUN beside them"
        )
    look_at_containment(wanted.untrusted)
    layout = Layout.from_environment()
    boot = find_boot(layout, name)
    with recreated_guest(boot, layout, progress, jobs=wanted.jobs) as (guest, notes):
        progress.close()
        if not wanted.quiet:
            for note in notes:
                tell(f"ttm-harness: not as in {boot.place.name}: {note}")
            for suite in boot.cell.suites:
                failed = ",".join(boot.failed()[:_MOST_CASES])
                cases = f" '{failed}'" if failed else ""
                tell(f"ttm-harness: in the guest, `rerun {suite}{cases}` runs it again")
        yield guest


def status_of(status: int, signal: int) -> int:
    """As a shell has it."""
    return _SIGNAL + signal if signal else status


class Input:
    """Standard input, as it comes."""

    def read(self, size: int, /) -> bytes:
        return os.read(0, size)


class Written:
    """A stream that gets each piece at once."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream

    def __call__(self, piece: bytes) -> None:
        self._stream.write(piece)
        self._stream.flush()
