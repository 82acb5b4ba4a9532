# SPDX-License-Identifier: GPL-2.0-only
"""MB per second and peak memory of the console reader on a generated log of 200 MB, each in a process of its own.

    python -m tests.bench.bench_kmsg [--size MB]

Three logs: `quiet`, a flood of a driver's messages with a real OOM report or splat every megabyte, as a night of
tests leaves it; `busy`, the same every 50 kB, so that nearly every block has something in it; `dense`, real logs
one after another, where every fourth line belongs to an event.
`whole`, for comparison, is the same reader on a tenth of the quiet log read at once.
"""

from __future__ import annotations

import argparse
import itertools
import json
import re
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from harness.evidence.lines import decode
from harness.evidence.oom import find_ooms
from harness.evidence.splats import find_events
from harness.evidence.stream import stream_kmsg

_DATA = Path(__file__).parent.parent / "data"
_MB = 1_000_000
_EVERY = {"quiet": _MB, "busy": 50_000, "dense": 0}
_CHUNK = 1 << 20


def _reports() -> list[bytes]:
    """What stands in the logs: the tails of real ones, from the boot's last message on."""
    logs = [*sorted((_DATA / "kmsg").glob("*/input.log")), _DATA / "ktap" / "every-outcome-of-kunit" / "input.log"]
    texts = [log.read_bytes() for log in logs]
    return [text[max(0, text.find(b"Freeing unused kernel")) :] for text in texts]


def _flood() -> Iterator[bytes]:
    """Lines of a driver that talks, 100 kB at a time, each time with other numbers."""
    for second in itertools.count(10):
        yield b"".join(
            b"[%5d.%06d] xe 0000:00:02.0: [drm] fence %d of engine %d signalled after %d us, %d objects on the list\n"
            % (second, at * 900, second * 1000 + at, at % 7, at * 13 % 977, at % 311)
            for at in range(1000)
        )


def _later(texts: list[bytes]) -> Iterator[bytes]:
    """The texts again and again, each time at another second: with the same times they would be one, shown twice."""
    for second, text in enumerate(itertools.cycle(texts), 10):
        yield re.sub(rb"(?m)^\[ *\d+\.", b"[%5d." % second, text)


def generate(path: Path, kind: str, size: int) -> None:
    """A log of about `size` bytes."""
    reports, flood = _later(_reports()), _flood()
    written, since = 0, 0
    with path.open("wb") as file:
        while written < size:
            piece = next(flood) if _EVERY[kind] else b""
            if kind == "busy":
                piece = piece[: piece.rfind(b"\n", 0, _EVERY[kind]) + 1]
            since += len(piece)
            if since >= _EVERY[kind]:
                piece, since = piece + next(reports), 0
            written += file.write(piece)


def read(path: Path, whole: bool) -> dict[str, float]:
    """One reading in this process."""
    start = time.perf_counter()
    events = ooms = lines = 0
    if whole:
        decoded = decode(path.read_bytes())
        events, ooms, lines = len(find_events(decoded)), len(find_ooms(decoded)), len(decoded)
    else:
        with path.open("rb") as file:
            for piece in stream_kmsg(iter(lambda: file.read(_CHUNK), b"")):
                events, ooms, lines = events + len(piece.events), ooms + len(piece.ooms), piece.lines
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {
        "seconds": seconds,
        "cpu": time.process_time(),
        "peak": peak,
        "events": events,
        "ooms": ooms,
        "lines": lines,
    }


def measure(folder: Path, kind: str, size: int, whole: bool = False) -> dict[str, float]:
    """A log of its own, read by a process of its own."""
    path = folder / f"{kind}.log"
    generate(path, kind, size)
    argv = [sys.executable, "-m", "tests.bench.bench_kmsg", "--read", str(path), *(["--whole"] if whole else [])]
    done = subprocess.run(argv, capture_output=True, check=True, text=True)
    got: dict[str, float] = json.loads(done.stdout)
    got["mb"] = path.stat().st_size / _MB
    path.unlink()
    return got


def show(name: str, got: dict[str, float]) -> None:
    print(
        f"{name:<6} {got['mb']:6.0f} MB  {got['lines'] / 1e6:5.2f} M lines"
        f"  {got['mb'] / got['seconds']:6.1f} MB/s  {got['mb'] / got['cpu']:6.1f} MB/s of CPU"
        f"  peak {got['peak']:6.1f} MiB  {got['events']:6.0f} events  {got['ooms']:6.0f} OOM reports"
    )


def test_memory_does_not_grow_with_the_log(tmp_path: Path) -> None:
    small, large = (measure(tmp_path, "quiet", size * _MB) for size in (20, 200))
    show("quiet", small)
    show("quiet", large)
    assert large["peak"] < small["peak"] + 16


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--size", type=int, default=200, help="MB of each log")
    parser.add_argument("--folder", type=Path, default=Path("/tmp"), help="where the logs are made")
    parser.add_argument("--read", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--whole", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.read is not None:
        print(json.dumps(read(options.read, options.whole)))
        return
    for kind in _EVERY:
        show(kind, measure(options.folder, kind, options.size * _MB))
    show("whole", measure(options.folder, "quiet", options.size * _MB // 10, whole=True))


if __name__ == "__main__":
    main()
