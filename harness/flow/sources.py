# SPDX-License-Identifier: GPL-2.0-only
"""Events and the objects of the kernel that printed them -> the same events with the lines of its sources."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from harness.evidence.backtrace import frames_of_events, with_places
from harness.kernel.decode import VMLINUX, Objects, decode
from harness.kernel.make import OBJECTS
from harness.model.build import Build
from harness.model.errors import UserError
from harness.model.event import Event
from harness.proc import Deadline
from harness.store.layout import Layout

__all__ = ["Objects", "objects_beside", "objects_of", "objects_of_build", "with_sources"]

_DECODE_SECONDS = 300.0


def with_sources(events: Sequence[Event], objects: Objects) -> tuple[tuple[Event, ...], str]:
    """The events with FILE:LINE behind their frames, and a sentence for what could not be decoded, or nothing."""
    decoded = decode(frames_of_events(events), objects, Deadline(_DECODE_SECONDS))
    return tuple(with_places(event, decoded) for event in events), decoded.problem


def objects_of(build: Build, first: Sequence[Path] = ()) -> Objects:
    """Those of a build; modules are looked for in the directories `first` before its own."""
    return Objects(build.objects / VMLINUX, (*first, build.objects))


def objects_beside(vmlinux: Path) -> Objects:
    """A vmlinux, and the modules that were built with it."""
    return Objects(vmlinux, (vmlinux.parent,))


def objects_of_build(name: str, layout: Layout) -> Objects:
    """Those of the build in the store whose id begins like that; the harness's own modules for it are not known."""
    known = sorted(path.name for path in layout.builds.iterdir() if path.is_dir())
    found = [one for one in known if one.startswith(name[:16]) and name]
    if len(found) != 1:
        what = "several builds" if found else "no build"
        raise UserError(
            f"there is {what} {name!r} in the store", hint=f"builds: {', '.join(found or known) or 'none'}"
        )
    return objects_beside(layout.objects / found[0] / OBJECTS / VMLINUX)
