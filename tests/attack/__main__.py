# SPDX-License-Identifier: GPL-2.0-only
"""`python -m tests.attack --kills N --damage N --streams N --mails N`: what `make soak` runs."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
from pathlib import Path

from tests.attack import damage, kills, others
from tests.attack.forked import ready
from tests.attack.ground import Ground


def main() -> int:
    """Exit status 1 when anything went wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.attack", description=__doc__)
    parser.add_argument("--kills", type=int, default=1000)
    parser.add_argument("--damage", type=int, default=10_000, help="commands on damaged stores")
    parser.add_argument("--streams", type=int, default=500)
    parser.add_argument("--mails", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--place", type=Path, help="a directory to work in; else one that is removed afterwards")
    wanted = parser.parse_args()
    ready()
    with tempfile.TemporaryDirectory(prefix="ttm-attack-") as scratch:
        ground = Ground(wanted.place or Path(scratch), wanted.seed)
        signal.signal(signal.SIGTERM, _Stop())
        try:
            storm(ground, wanted.kills, wanted.damage, wanted.streams, wanted.mails)
        except KeyboardInterrupt:
            print("ended before its end:", end=" ")
    print(ground.tally.text())
    return 1 if ground.tally.faults.total() else 0


class _Stop:
    """Ends the attack with what it has, when it is this process that is to end and not one that it just forked."""

    def __init__(self) -> None:
        self._mine = os.getpid()

    def __call__(self, *_: object) -> None:
        if os.getpid() != self._mine:
            os._exit(130)
        raise KeyboardInterrupt


def storm(ground: Ground, kill: int, hurt: int, streams: int, mails: int) -> None:
    """All four attacks, one after the other."""
    if streams:
        others.attack_streams(ground, damage.make_model(ground), streams)
    if mails:
        others.attack_mails(ground, mails)
    if hurt:
        damage.attack(ground, hurt)
    if kill:
        kills.attack(ground, kill)


if __name__ == "__main__":
    sys.exit(main())
