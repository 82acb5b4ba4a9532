# SPDX-License-Identifier: GPL-2.0-only
"""Breaks the checks of xe-fake's cases in turn: a case that stays green with a check broken is blind there.

    python -m tests.kernel.broken_checks [--device NAME] [--cases GLOB,…] [--each]

Without --each a check that several cases of a boot come by is broken in the first of them alone. Boots one guest for
each handful of cases, and ends with 1 when a case stayed green.
"""

from __future__ import annotations

import argparse
import fnmatch
import json
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from harness.store.layout import Layout
from harness.suites.registry import suite_named

_SOURCES = suite_named("xe-fake").folder / "overlay"
_CASE = re.compile(r"^\tFAKE_CASE\((\w+), ", re.MULTILINE)
_CHECK = re.compile(r"\bKUNIT_(EXPECT|ASSERT)_\w+\(")
_UNCOUNTED = "uncounted"
# Each run of one of them takes a minute and more, and a boot has 15.
SLOW = ("pressure*", "uapi*", "upstream", "create_fails", "fatal_*")
_LEFT_OUT = ("suspect_*", "fatal_*")
_A_BOOT = 6
_SECONDS = 3600.0


@dataclass(frozen=True, slots=True)
class Broken:
    """A check, FILE:LINE, that was broken in a case, and the outcome of the case then."""

    case: str
    check: str
    outcome: str

    @property
    def seen(self) -> bool:
        return self.outcome == "not ok"


def all_cases() -> tuple[str, ...]:
    """The cases that run when nobody chooses, in their order."""
    names = _CASE.findall((_SOURCES / "main.c").read_text(encoding="utf-8"))
    return tuple(name for name in names if not any(fnmatch.fnmatch(name, glob) for glob in _LEFT_OUT))


def all_checks() -> tuple[str, ...]:
    """Each place in the sources that checks something, as the guest names it."""
    return tuple(
        f"{path.name}:{number}"
        for path in sorted(_SOURCES.glob("*.c"))
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if _CHECK.search(line)
    )


def break_checks(cases: Sequence[str], device: str, each: bool) -> tuple[Broken, ...]:
    """What became of the cases, in one boot, with one check after the other broken."""
    argv = [
        *(sys.executable, "-m", "harness", "run", "--json", "--suite", "xe-fake", "--case", ",".join(cases)),
        *("--knob", f"device={device}", "--append", f"ttm_break={'each' if each else 'new'}"),
    ]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=_SECONDS, check=False)
    try:
        report = json.loads(done.stdout)
        directory = Layout.from_environment().runs / report["id"] / report["runs"][0]["directory"]
        text = (directory / "results" / "xe-fake.broken").read_text(encoding="utf-8")
    except (ValueError, LookupError, OSError) as error:
        raise RuntimeError(f"no outcome of {', '.join(cases)}: {error}; {done.stderr[-2000:]}") from error
    return tuple(Broken(*line.split("\t")) for line in text.splitlines())


def _portions(cases: Sequence[str]) -> Iterator[Sequence[str]]:
    for at in range(0, len(cases), _A_BOOT):
        yield cases[at : at + _A_BOOT]


def _chosen(globs: str) -> tuple[str, ...]:
    wanted = globs.split(",") if globs else ["*"]
    slow = () if globs else SLOW
    return tuple(
        case
        for case in all_cases()
        if any(fnmatch.fnmatch(case, glob) for glob in wanted)
        and not any(fnmatch.fnmatch(case, glob) for glob in slow)
    )


def table(broken: Iterable[Broken]) -> str:
    """One line a case: the checks that were broken in it, those that it saw, and the names of the others."""
    by_case: dict[str, list[Broken]] = {}
    for one in broken:
        by_case.setdefault(one.case, []).append(one)
    lines = [f"{'case':28} checks  red  green"]
    for case, ones in by_case.items():
        green = " ".join(one.check for one in ones if not one.seen)
        lines.append(f"{case:28} {len(ones):6} {sum(one.seen for one in ones):4}  {green}".rstrip())
    return "\n".join(lines)


def main() -> int:
    """The program."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--device", default="tgl")
    parser.add_argument("--cases", default="", help="globs; without it all but those that take minutes")
    parser.add_argument("--each", action="store_true", help="each check in each case that comes by it")
    asked = parser.parse_args()
    broken: list[Broken] = []
    for portion in _portions(_chosen(asked.cases)):
        broken += break_checks(portion, asked.device, asked.each)
        print(table(one for one in broken if one.case in portion), flush=True)
    met = {one.check for one in broken}
    never = [check for check in all_checks() if check not in met]
    blind = [one for one in broken if not one.seen]
    print(f"{len(broken)} breaks of {len(met - {_UNCOUNTED})} checks, {len(blind)} not seen")
    print(f"not come by: {' '.join(never) or 'none'}")
    return 1 if blind else 0


if __name__ == "__main__":
    sys.exit(main())
