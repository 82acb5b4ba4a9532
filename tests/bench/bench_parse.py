# SPDX-License-Identifier: GPL-2.0-only
"""The parsers of this tree beside those of another one, an older commit's: CPU time as a ratio, and peak memory.

    python -m tests.bench.bench_parse OTHER_TREE [--sizes 10k,1M,50M] [--only NAME]

Each tree has a process of its own, and they take turns, so that whatever else runs on the machine slows both. Of
each figure the best of its rounds counts. `console` is kunit on a console, `bare` the same without times, `quiet` and
`dense` are the logs of bench_kmsg. A ratio above 1 means that this tree is slower.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import re
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tests.bench.bench_kmsg import generate

_HERE = Path(__file__).resolve().parent.parent.parent
_KTAP = _HERE / "tests" / "data" / "ktap" / "every-ttm-suite-on-7.3" / "input.log"
_TIMES = re.compile(rb"(?m)^\[ *(\d+)\.(\d{6})\] ")
_CHUNK = 1 << 18
_UNITS = {"k": 1000, "M": 1_000_000}
_SECONDS = 0.05  # for one round
_ROUNDS = 60


def _console(path: Path, size: int) -> None:
    """Kunit's documents again and again, each time an hour later."""
    document = _KTAP.read_bytes()
    document = document[document.rfind(b"\n", 0, document.find(b"KTAP version 1")) + 1 :]
    with path.open("wb") as file:
        written = 0
        for hour in itertools.count():
            later = _TIMES.sub(partial(_after, hour * 3600), document)
            piece = later[: max(0, size - written)]
            written += file.write(piece[: piece.rfind(b"\n") + 1])
            if len(piece) < len(later):
                return


def _after(seconds: int, match: re.Match[bytes]) -> bytes:
    return b"[%5d.%s] " % (int(match[1]) + seconds, match[2])


def _bare(path: Path, size: int) -> None:
    _console(path, size + size // 3)
    path.write_bytes(_TIMES.sub(b"", path.read_bytes())[:size])


LOGS: dict[str, tuple[str, Callable[[Path, int], None]]] = {
    "console": ("ktap", _console),
    "bare": ("ktap", _bare),
    "quiet": ("kmsg", lambda path, size: generate(path, "quiet", size)),
    "dense": ("kmsg", lambda path, size: generate(path, "dense", size)),
}


def _once(verb: str, path: Path) -> None:
    """What the verb does with a file, but for the printing."""
    with path.open("rb") as file:
        chunks = iter(lambda: file.read(_CHUNK), b"")
        if verb == "kmsg":
            from harness.evidence.stream import stream_kmsg

            for _ in stream_kmsg(chunks):
                pass
            return
        from harness.evidence import parse

        whole = getattr(parse, "parse_ktap_stream", None)
        if whole is None:
            parse.parse_ktap_text(b"".join(chunks))
        else:
            whole(chunks)


def serve() -> None:
    """A request a line: verb, path, times. The answer: seconds of CPU for one of them, and the peak in MiB."""
    for line in sys.stdin:
        verb, path, times = json.loads(line)
        start = time.process_time()
        for _ in range(times):
            _once(verb, Path(path))
        seconds = (time.process_time() - start) / times
        print(json.dumps([seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024]), flush=True)


@contextmanager
def _server(tree: Path) -> Iterator[Callable[[str, Path, int], tuple[float, float]]]:
    """A process whose `harness` is that of the tree."""
    environment = {**os.environ, "PYTHONPATH": str(tree), "PYTHONSAFEPATH": "1"}
    argv = [sys.executable, "-c", f"import runpy; runpy.run_path({__file__!r})['serve']()"]
    # What this file imports of the tests is the tree's own; where it has none, nothing of it is asked for.
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment) as process:
        stdin, stdout = process.stdin, process.stdout
        assert stdin is not None and stdout is not None

        def ask(verb: str, path: Path, times: int) -> tuple[float, float]:
            print(json.dumps([verb, str(path), times]), file=stdin, flush=True)
            seconds, peak = json.loads(stdout.readline())
            return seconds, peak

        yield ask
        stdin.close()


@dataclass(frozen=True, slots=True)
class Figure:
    """Seconds and peak of this tree and of the other."""

    here: tuple[float, float]
    there: tuple[float, float]

    @property
    def ratio(self) -> float:
        return self.here[0] / self.there[0]


def measure(other: Path, verb: str, path: Path) -> Figure:
    """Both on one file, in turn, in fresh processes."""
    with _server(_HERE) as here, _server(other) as there:
        first = [ask(verb, path, 1) for ask in (here, there)]
        times = max(1, round(_SECONDS / max(min(seconds for seconds, _ in first), 1e-4)))
        rounds = max(3, min(_ROUNDS, round(_ROUNDS * _SECONDS / first[0][0])))
        best = [float("inf")] * 2
        for _ in range(rounds):
            for at, ask in enumerate((here, there)):
                best[at] = min(best[at], ask(verb, path, times)[0])
    return Figure((best[0], first[0][1]), (best[1], first[1][1]))


def _size(text: str) -> int:
    return int(text[:-1]) * _UNITS[text[-1]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("tree", type=Path, help="another tree of this project, such as a git worktree")
    parser.add_argument("--sizes", default="10k,1M,50M")
    parser.add_argument("--only", choices=sorted(LOGS))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for name, (verb, make) in LOGS.items():
            for size in options.sizes.split(",") if options.only in (None, name) else ():
                path = Path(folder) / name
                make(path, _size(size))
                figure = measure(options.tree.resolve(), verb, path)
                path.unlink()
                print(
                    f"{name:<8} {size:>4}  {1e3 * figure.here[0]:9.2f} ms  before {1e3 * figure.there[0]:9.2f} ms"
                    f"  ratio {figure.ratio:.2f}  peak {figure.here[1]:4.0f} MiB  before {figure.there[1]:4.0f} MiB",
                    flush=True,
                )


if __name__ == "__main__":
    main()
