# SPDX-License-Identifier: GPL-2.0-only
"""KVM or TCG. A /dev/kvm proves nothing: on some hosts it opens, answers its version and hangs every guest.

So KVM is believed only after a bounded boot under it reached `ready`; the answer is kept for this host's kernel,
QEMU and device, and asked again when any of them changes. A no is asked again after a week: the host may only have
been busy.
"""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Callable
from pathlib import Path

from harness.model.arch import guest_arch
from harness.model.errors import UserError
from harness.model.machine import Accel
from harness.proc import Deadline, find_tool
from harness.store.files import locked, write_atomically
from harness.store.layout import Layout

KVM_DEVICE = Path("/dev/kvm")
PROBE_SECONDS = 20.0
_NO_HOLDS_SECONDS = 7 * 86400.0
_BEGAN = time.time()  # a no that holds now does so to the end: the two sides of a comparison must not differ in it


def settle(asked: Accel, layout: Layout, probe: Callable[[], bool]) -> Accel:
    """AUTO -> KVM or TCG. `probe` boots a guest under KVM, within PROBE_SECONDS, and says whether it got ready."""
    if asked in (Accel.TCG, Accel.NONE):
        return asked
    usable = _usable()
    if asked is Accel.KVM:
        if not usable:
            raise UserError(
                f"{KVM_DEVICE} cannot be opened, but --accel kvm asks for it",
                hint="add yourself to the group kvm, or use --accel tcg",
            )
        return Accel.KVM
    if not usable:
        return Accel.TCG
    with locked(layout.locks / "kvm-probe", Deadline(PROBE_SECONDS * 3)):
        known = remembered(layout)
        if known is None:
            known = probe()
            _remember(layout, known)
    return Accel.KVM if known else Accel.TCG


def expected(asked: Accel, layout: Layout) -> Accel:
    """What `settle` will say, as far as it is known without a boot; AUTO where it is not."""
    if asked is not Accel.AUTO:
        return asked
    if not _usable():
        return Accel.TCG
    known = remembered(layout)
    return Accel.AUTO if known is None else Accel.KVM if known else Accel.TCG


def _usable() -> bool:
    return guest_arch().native and os.access(KVM_DEVICE, os.R_OK | os.W_OK)


def remembered(layout: Layout) -> bool | None:
    """What an earlier probe on this very host found; None when there was none, or a no that is old."""
    try:
        facts = json.loads(layout.host_file.read_text())
        answer = facts["kvm"][_host_key()]
        if answer is False and _BEGAN - layout.host_file.stat().st_mtime > _NO_HOLDS_SECONDS:
            return None
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return answer if isinstance(answer, bool) else None


def _remember(layout: Layout, works: bool) -> None:
    write_atomically(layout.host_file, json.dumps({"kvm": {_host_key(): works}}, indent=1) + "\n")


def _host_key() -> str:
    """Changes when the host's kernel, machine, QEMU or KVM device does."""
    qemu = find_tool(guest_arch().qemu)
    stamp = f"{qemu}:{qemu.stat().st_mtime_ns}" if qemu is not None else "no qemu"
    device = KVM_DEVICE.stat()
    return "|".join((platform.node(), platform.release(), platform.version(), stamp, f"{device.st_rdev}"))
