# SPDX-License-Identifier: GPL-2.0-only
"""What the pytest plugin costs: 1,000 trivial tests without it, with a guest of the session, and with a command each;
a fresh guest for each test; the start of pytest with and without it.

    python -m tests.bench.bench_plugin [--tests N] [--boots N] [OPTIONS of pytest, such as --ttm-profile tiny]
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
_TESTS = """
import pytest

@pytest.mark.parametrize("number", range({count}))
def test_one({fixture}number):
    {body}
"""


def seconds(text: str, words: tuple[str, ...]) -> float:
    """One run of pytest over a file with that text."""
    with tempfile.TemporaryDirectory() as place:
        (Path(place) / "test_bench.py").write_text(text)
        argv = (sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *words)
        began = time.monotonic()
        done = subprocess.run(
            argv, cwd=place, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False
        )
        if done.returncode:
            sys.exit(done.stdout + done.stderr)
        return time.monotonic() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--tests", type=int, default=1000)
    parser.add_argument("--boots", type=int, default=5)
    options, words = parser.parse_known_args()
    without, with_it = ("-p", "no:ttm-harness"), ("-p", "harness.pytest_plugin", "-p", "no:ttm-harness", *words)

    def tests(fixture: str, body: str = "pass", count: int = options.tests) -> str:
        return _TESTS.format(fixture=f"{fixture}, " if fixture else "", body=body, count=count)

    used = 'guest_session.run(("true",))'
    runs = (
        ("1 test, without the plugin", tests("", count=1), without),
        ("1 test, with the plugin and without a guest", tests("", count=1), with_it),
        ("1 test, with a guest", tests("guest_session", count=1), with_it),
        (f"{options.tests} tests, without the plugin", tests(""), without),
        (f"{options.tests} tests, with the plugin and without a guest", tests(""), with_it),
        (f"{options.tests} tests, with a guest of the session", tests("guest_session"), with_it),
        (f"{options.tests} tests, each with a command in it", tests("guest_session", used), with_it),
        (f"{options.boots} tests, each with a guest of its own", tests("guest", count=options.boots), with_it),
    )
    for name, text, more in runs:
        print(f"{name:<60} {seconds(text, more):8.2f} s", flush=True)


if __name__ == "__main__":
    main()
