# SPDX-License-Identifier: GPL-2.0-only
"""Where an attack takes place: a store, a canary beside it that nothing may touch, and the tally of what happened."""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import stat
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from harness.store.sealed import SEAL_FILE
from tests.attack.forked import Call, Ended, Streams, call
from tests.attack.standin import RUN, write_guest, write_source

FAULTS = (
    "false green",
    "false red",
    "result lost",
    "traceback",
    "outside touched",
    "hang",
    "left running",
    "odd status",
)


@dataclass
class Tally:
    """What was done and what went wrong, with a line to do it again for each of the first faults of a kind."""

    seed: int
    done: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    notes: Counter[str] = field(default_factory=Counter)
    lines: list[str] = field(default_factory=list)
    began: float = field(default_factory=time.monotonic)

    def fault(self, kind: str, words: str) -> None:
        assert kind in FAULTS
        self.faults[kind] += 1
        if self.faults[kind] <= 20:
            self.lines.append(f"{kind}: {words}")
            print(f"  {kind}: {words}", flush=True)

    def text(self) -> str:
        done = ", ".join(f"{count} {what}" for what, count in sorted(self.done.items()))
        faults = ", ".join(f"{self.faults[kind]} {kind}" for kind in FAULTS)
        notes = ", ".join(f"{count} {what}" for what, count in sorted(self.notes.items()))
        return f"seed {self.seed}, {time.monotonic() - self.began:.0f} s: {done}; {faults}" + (
            f"; noted: {notes}" if notes else ""
        )


class Ground:
    """A scratch directory with store/, canary/, bin/ and the made-up source."""

    def __init__(self, place: Path, seed: int) -> None:
        self.place = place
        self.store = place / "store"
        self.canary = place / "canary"
        self.chance = random.Random(seed)
        self.tally = Tally(seed)
        place.mkdir(parents=True, exist_ok=True)
        write_guest(place / "bin")
        write_source(place / "linux.tar")
        (self.canary / "runs-x").mkdir(parents=True, exist_ok=True)
        (self.canary / "file").write_text("years of work\n")
        (self.canary / "runs-x" / "report.json").write_text("{}\n")
        self._canary = tree_digest(self.canary)
        self.run_words = ("run", "--source", f"tar:{place / 'linux.tar'}", *RUN, "--quiet")

    def environment(self, store: Path | None = None) -> dict[str, str]:
        own = self.place / "tmp"
        own.mkdir(exist_ok=True)
        return {
            "TTM_HARNESS_STORE": str(store or self.store),
            "PATH": f"{self.place / 'bin'}:{os.environ['PATH']}",
            "HOME": str(self.place),
            "TMPDIR": str(own),
        }

    def command(
        self, *words: str, store: Path | None = None, seconds: float = 300.0, streams: Streams | None = None
    ) -> Ended:
        ended = call(Call(words, self.environment(store), streams or Streams(), str(self.place), seconds))
        self.tally.done["commands"] += 1
        self.judge(ended)
        return ended

    def judge(self, ended: Ended) -> None:
        """What no command may ever do."""
        said = f"{' '.join(ended.words)} -> {ended.status}"
        if ended.status is None:
            self.tally.fault("hang", f"{said} after {ended.seconds:.0f} s: {ended.errors[-1500:]}")
        if ended.traced:
            self.tally.fault("traceback", f"{said}: {ended.errors.strip().splitlines()[-1][:300]}")
        elif ended.status is not None and ended.status not in (0, 1, 2, 3, 130, -13):
            self.tally.fault("odd status", f"{said}: {ended.errors[-300:]!r}")

    def look_at_canary(self, words: str) -> None:
        if tree_digest(self.canary) != self._canary:
            self.tally.fault("outside touched", words)
            shutil.rmtree(self.canary, ignore_errors=True)
            (self.canary / "runs-x").mkdir(parents=True)
            (self.canary / "file").write_text("years of work\n")
            (self.canary / "runs-x" / "report.json").write_text("{}\n")
            self._canary = tree_digest(self.canary)


def tree_digest(place: Path) -> str:
    """Over the names, kinds, modes and contents of all that lies there; links are not followed."""
    digest = hashlib.sha256()
    for path in sorted([place, *place.rglob("*")]):
        found = path.lstat()
        digest.update(f"{path.relative_to(place)}\0{stat.filemode(found.st_mode)}\0".encode("utf-8", "replace"))
        if stat.S_ISREG(found.st_mode):
            content = path.read_bytes()
            # Whoever looks whether a boot is whole writes down when, and how the files looked; what they are stays.
            digest.update(content.partition(b"\n")[0].rpartition(b" ")[2] if path.name == SEAL_FILE else content)
        elif stat.S_ISLNK(found.st_mode):
            digest.update(os.fsencode(path.readlink()))
    return digest.hexdigest()


def processes_naming(place: Path) -> list[int]:
    """Every process, this one apart, that has the place on its command line."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            if os.fsencode(place) in (entry / "cmdline").read_bytes():
                found.append(int(entry.name))
        except OSError:
            continue
    return found
