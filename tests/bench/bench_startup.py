# SPDX-License-Identifier: GPL-2.0-only
"""CPU time of commands that do next to nothing: the median of user and system time over some runs.

    python -m tests.bench.bench_startup [--runs N] [WORDS ...]

WORDS are a command line in one word, such as "series show x.mbox"; without any, the help of every verb.
"""

from __future__ import annotations

import argparse
import resource
import shlex
import statistics
import subprocess
import sys

from harness.cli.verbs import VERBS


def seconds(words: str) -> float:
    """One run."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    argv = [sys.executable, "-m", "harness", *shlex.split(words)]
    subprocess.run(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("words", nargs="*", default=["--help", *(f"{verb} --help" for verb in VERBS)])
    parser.add_argument("--runs", type=int, default=20)
    options = parser.parse_args()
    for words in options.words:
        print(f"{words:<40} {statistics.median(seconds(words) for _ in range(options.runs)):.3f} s", flush=True)


if __name__ == "__main__":
    main()
