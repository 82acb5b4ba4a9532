# SPDX-License-Identifier: GPL-2.0-only
"""guest-scripts/suite-kunit with a kunit that is made up: which cases it announces, and which are run."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from harness.checkout import data_directory
from harness.flow.names import short_name
from harness.suites.registry import narrowed, suite_named

# What lib/kunit/executor.c makes of its parameters when a module is loaded: one glob, cut at its first period.
MODPROBE = r"""#!/bin/sh
place=@
[ ! -d $place/sys/module/$1 ] || exit 0
mkdir $place/sys/module/$1
glob=$(cat $place/parameters/filter_glob)
for file in $place/modules/$1/*; do
	suite=${file##*/}
	case $suite in ${glob%%.*}) ;; *) continue ;; esac
	mkdir $place/kunit/$suite
	while read -r case; do
		case $glob in *.*) case $case in ${glob#*.}) ;; *) continue ;; esac ;; esac
		skip=
		[ "$(cat $place/parameters/filter)" != module=none ] || skip=' # SKIP'
		echo "    ok 1 $case$skip" >>$place/kunit/$suite/results
		[ -n "$skip" ] || echo "$suite.$case" >>$place/ran
	done <$file
done
"""
RMMOD = r"""#!/bin/sh
place=@
rmdir $place/sys/module/$1
for file in $place/modules/$1/*; do
	rm -rf $place/kunit/${file##*/}
done
"""
MODULES: dict[str, dict[str, tuple[str, ...]]] = {
    "one_test": {"one": ("alloc", "free", "both_ways"), "one_more": ("alloc_all",)},
    "two_test": {"two": ("alloc", "alloc_all")},
}
ALL = ["one.alloc", "one.free", "one.both_ways", "one_more.alloc_all", "two.alloc", "two.alloc_all"]


class Guest:
    def __init__(self, place: Path) -> None:
        self.place = place
        for folder in ("sys/module", "kunit", "parameters", "results", "bin"):
            (place / folder).mkdir(parents=True)
        (place / "parameters" / "filter_glob").write_text("*")
        (place / "parameters" / "filter").write_text("")
        for module, suites in MODULES.items():
            (place / "modules" / module).mkdir(parents=True)
            for suite, cases in suites.items():
                (place / "modules" / module / suite).write_text("".join(f"{case}\n" for case in cases))
        for name, text in (("modprobe", MODPROBE), ("rmmod", RMMOD), ("note", "#!/bin/sh\n")):
            (place / "bin" / name).write_text(text.replace("@", str(place)))
            (place / "bin" / name).chmod(0o755)
        script = (data_directory("guest-scripts") / "suite-kunit").read_text()
        for there, here in (
            ("/sys/module/kunit/parameters", f"{place}/parameters"),
            ("/sys/kernel/debug/kunit", f"{place}/kunit"),
            ('"/sys/module', f'"{place}/sys/module'),
            (">/dev/kmsg", f">>{place}/kmsg"),
        ):
            script = script.replace(there, here)
        (place / "suite-kunit").write_text(script)

    def run(self, cases: str, *words: str) -> subprocess.CompletedProcess[str]:
        environment = {
            "PATH": f"{self.place / 'bin'}:{os.environ['PATH']}",
            "HARNESS_CASES": cases,
            "HARNESS_SUITE": "mine",
            "HARNESS_RESULTS": str(self.place / "results"),
            "HARNESS_NOTE": str(self.place / "bin" / "note"),
        }
        argv = ["sh", str(self.place / "suite-kunit"), *words, *MODULES]
        return subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=60, check=False)

    def lines(self, name: str) -> list[str]:
        path = self.place / name
        return path.read_text().splitlines() if path.is_file() else []


@pytest.fixture
def guest(tmp_path: Path) -> Guest:
    return Guest(tmp_path)


@pytest.mark.parametrize(
    ("cases", "expected", "loads"),
    [
        ("", ALL, ["one_test", "two_test"]),
        ("*", ALL, ["one_test", "two_test"]),
        ("one.*", ALL[:3], ["one"]),
        ("one.*,one_more.*", ALL[:4], ["one_test"]),
        ("alloc", ["one.alloc", "two.alloc"], ["alloc", "alloc"]),
        ("two.alloc,f*", ["one.free", "two.alloc"], ["free", "alloc"]),
        ("alloc,one.alloc", ["one.alloc", "two.alloc"], ["alloc", "alloc"]),
    ],
)
def test_what_is_chosen_is_announced_and_run_and_nothing_else(
    guest: Guest, cases: str, expected: list[str], loads: list[str]
) -> None:
    done = guest.run(cases)
    assert (done.returncode, done.stderr) == (0, "")
    assert guest.lines("results/mine.announced") == expected
    assert guest.lines("ran") == expected
    assert [line.rpartition(" ")[2] for line in guest.lines("kmsg") if ": case " in line] == loads
    kept = [
        f"{path.stem}.{line.split()[2]}"
        for path in (guest.place / "results/mine").iterdir()
        for line in path.read_text().splitlines()
    ]
    assert sorted(kept) == sorted(expected)


def test_what_is_run_again_is_run(guest: Guest) -> None:
    for cases in ("", "alloc", "", "two.*"):
        assert guest.run(cases).returncode == 0
    assert guest.lines("ran") == [*ALL, "one.alloc", "two.alloc", *ALL, *ALL[4:]]


def test_a_choice_that_cannot_be_made_is_said(guest: Guest) -> None:
    for words, cases, why in (((), "gone", "no case matches gone"), (("--no-list",), "alloc", "only be run whole")):
        done = guest.run(cases, *words)
        assert done.returncode == 1 and why in done.stderr
    assert guest.lines("ran") == []


def test_of_a_kunit_suite_a_glob_with_a_period_is_over_the_whole_name() -> None:
    suite = suite_named("ttm-kunit")
    assert short_name(suite, "ttm_pool.ttm_pool_alloc_basic.One page") == "ttm_pool.ttm_pool_alloc_basic"
    assert short_name(suite, "ttm_pool") == "ttm_pool.*"
    part = narrowed(suite, ("ttm_pool.*", "ttm_bo_reserve_*"))
    assert [one.case for one in part.requirements] == ["ttm_pool.*", "*.ttm_bo_reserve_*"]
    assert part.manifest is not None
    suites = {one.name.partition(".")[0] for one in part.manifest.cases}
    assert suites == {"ttm_pool", "ttm_bo"}
