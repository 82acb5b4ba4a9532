# SPDX-License-Identifier: GPL-2.0-only
"""Made-up logs, in the forms of several kernels and machines (tests/data/made-up). No kernel printed them."""

from __future__ import annotations

from pathlib import Path

_MADE_UP = Path(__file__).parent.parent / "data" / "made-up"


def _text(name: str) -> str:
    return (_MADE_UP / f"{name}.log").read_text()


# A laptop whose GPU objects hold most of the memory: 8 GiB, zram, kernel before GPUActive.
LAPTOP = _text("laptop-with-gpu-objects-6.8")
# 4.15, a server without swap, old forms: cpuset line, `Kill process … score`, nr_ptes.
SERVER_4_15 = _text("server-without-swap-4.15")
# 32-bit x86: low memory ran out, high memory is there.
I386 = _text("low-memory-of-i386-5.7")
# A task that may only use a node that is full; the others are free.
CPUSET = _text("cpuset-whose-node-is-full-5.14")
# A cgroup with a limit of 2 GiB.
GROUP = _text("cgroup-at-its-limit-5.15")
# arm64 (a telephone), order 3, most of the memory free for single pages.
PHONE = _text("order-3-on-arm64-6.1")
SPLAT = _text("splat-in-ttm-6.17")
OTHER_SPLAT = _text("splat-in-sound-6.17")
QUIET = _text("nothing-to-tell-6.17")

REPORTS = {"laptop": LAPTOP, "server": SERVER_4_15, "group": GROUP, "phone": PHONE}
