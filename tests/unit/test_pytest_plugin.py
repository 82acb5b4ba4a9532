# SPDX-License-Identifier: GPL-2.0-only
"""The pytest plugin, with guests and runs that are made up (plugin_support.py): what its users' own options meet."""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.conftest import in_store, not_a_worker

pytest_plugins = ("pytester",)
pytestmark = pytest.mark.timeout(300)

ROOT = Path(__file__).parents[2]
Run = Callable[..., pytest.RunResult]


@pytest.fixture(name="plain")
def fixture_plain(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Run:
    """pytest in an empty project where the harness is installed: its entry points are there, and nothing else."""
    points = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]["pytest11"]
    info = pytester.path / "site" / "made_up-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: made-up\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[pytest11]\n" + "".join(f"{name} = {value}\n" for name, value in points.items())
    )
    for name, value in in_store(pytester.path / "store").items():
        monkeypatch.setenv(name, value)
    not_a_worker(monkeypatch)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join((str(info.parent), str(ROOT))))
    (pytester.path / "store").mkdir()

    def run(*words: str) -> pytest.RunResult:
        return pytester.runpytest_subprocess("-p", "no:cacheprovider", *words, timeout=120)

    return run


@pytest.fixture(name="made_up")
def fixture_made_up(plain: Run) -> Run:
    """The same with guests that are made up."""
    return lambda *words: plain("-p", "tests.unit.plugin_support", *words)


def boots(pytester: pytest.Pytester) -> list[str]:
    path = pytester.path / "boots.log"
    return path.read_text().splitlines() if path.exists() else []


def test_nothing_is_imported_where_nothing_is_used(pytester: pytest.Pytester, plain: Run) -> None:
    pytester.makepyfile(
        """
        import sys

        def test_nothing():
            ours = sorted(name for name in sys.modules if name.split(".")[0] == "harness")
            assert ours == ["harness", "harness.pytest_plugin"]
        """
    )
    plain("--strict-markers", "--strict-config", "-W", "error").assert_outcomes(passed=1)


def test_the_help_has_the_options_and_the_marks(plain: Run) -> None:
    names = ("source", "series", "profile", "fragment", "ram", "swap", "root", "accel", "store", "suite")
    plain("--help").stdout.fnmatch_lines_random([f"*--ttm-{name}=*" for name in names])
    plain("--markers").stdout.fnmatch_lines_random(["@pytest.mark.guest(ram=*", "@pytest.mark.kernel_events(allow=*"])
    plain("--fixtures").stdout.fnmatch_lines_random(
        [
            "guest --*",
            "guest_session [[]session scope[]] --*",
            "guest_module [[]module scope[]] --*",
            "guest_factory*",
        ]
    )


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--ttm-ram", "12X"), "*ram: *12X*"),
        (("--ttm-swap", "floppy:1M"), "*swap: *floppy*"),
        (("--ttm-accel", "hvf"), "*accel: 'hvf' is no accelerator*"),
        (("--ttm-source", "tar:"), "*tar:*"),
        (("--ttm-suite", "no-such"), "*--ttm-suite: there is no suite 'no-such'*"),
        (("--ttm-suite", ","), "*no suite is named*"),
    ],
)
def test_an_option_that_cannot_be_is_a_mistake_of_the_user(plain: Run, words: tuple[str, ...], sentence: str) -> None:
    found = plain(*words)
    assert found.ret == pytest.ExitCode.USAGE_ERROR
    found.stderr.fnmatch_lines([f"ERROR: {sentence}"])
    assert "Traceback" not in found.stderr.str()


def test_without_the_plugin_there_is_no_guest(pytester: pytest.Pytester, plain: Run) -> None:
    pytester.makepyfile("def test_one(guest): pass")
    found = plain("-p", "no:ttm-harness")
    found.assert_outcomes(errors=1)
    found.stdout.fnmatch_lines(["*fixture 'guest' not found"])


def test_what_cannot_be_booted_is_an_error_and_tried_once(pytester: pytest.Pytester, plain: Run) -> None:
    pytester.makepyfile("def test_one(guest): pass\ndef test_two(guest): pass\ndef test_three(kernel): pass")
    found = plain("--ttm-source", str(pytester.path / "nowhere"))
    found.assert_outcomes(errors=3)
    found.stdout.fnmatch_lines(["*nowhere*"])
    assert "Traceback" not in found.stdout.str()


def test_a_machine_that_no_host_can_hold_is_an_error(pytester: pytest.Pytester, made_up: Run) -> None:
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.guest(ram="9000G")
        def test_huge(guest): pass

        def test_factory(guest_factory):
            with guest_factory(ram="9000G"): pass
        """
    )
    found = made_up()
    found.assert_outcomes(errors=1, failed=1)
    found.stdout.fnmatch_lines(["*this host cannot carry a guest with 9000G of RAM*"])
    assert not [line for line in boots(pytester) if "boots" in line]


def test_marks_are_machines(pytester: pytest.Pytester, made_up: Run) -> None:
    pytester.makepyfile(
        """
        import pytest

        pytestmark = pytest.mark.guest(swap="none", ram="128M")

        def test_module(guest):
            assert str(guest.machine.swap) == "none" and guest.machine.ram == 128 << 20

        @pytest.mark.guest(ram="96M", cmdline="quiet nokaslr", cpus=1)
        def test_nearest(guest):
            assert guest.machine.ram == 96 << 20 and str(guest.machine.swap) == "none"
            assert guest.machine.cmdline == ("quiet", "nokaslr") and guest.machine.cpus == 1

        @pytest.mark.guest(ram=["96M", "1G"], swap=("none", "zram:64M"))
        def test_product(guest, guest_factory):
            with guest_factory(cpus=3) as other:
                assert other.machine.ram == guest.machine.ram
                assert other.machine.cpus == 3

        def test_no_guest(): pass
        """
    )
    found = made_up("-v", "--ttm-accel", "tcg", "--ttm-ram", "64M")
    found.assert_outcomes(passed=7)
    names = [line.split(" ")[0].split("::")[1] for line in found.outlines if "PASSED" in line]
    product = [f"test_product[{ram}-{swap}]" for ram in ("96M", "1G") for swap in ("none", "zram:64M")]
    assert sorted(names) == sorted(["test_module", "test_nearest", *product, "test_no_guest"])


@pytest.mark.parametrize(
    ("mark", "sentence"),
    [
        ("guest(rum='1G')", "*a guest has no 'rum'*"),
        ("guest('1G')", "*takes names and values*"),
        ("guest(ram=['1G', 'x'])", "*ram: *'x'*"),
    ],
)
def test_a_mark_that_cannot_be_is_an_error(pytester: pytest.Pytester, made_up: Run, mark: str, sentence: str) -> None:
    pytester.makepyfile(f"import pytest\n@pytest.mark.{mark}\ndef test_one(guest): pass")
    found = made_up()
    found.assert_outcomes(errors=1)
    found.stdout.fnmatch_lines([sentence])
    assert "Traceback" not in found.stdout.str()


def test_collection_boots_nothing(pytester: pytest.Pytester, made_up: Run) -> None:
    pytester.makepyfile("def test_one(guest, guest_session, kernel): pass")
    made_up("--collect-only").stdout.fnmatch_lines(["*test_one*"])
    assert boots(pytester) == []


EVENTS = """
import pytest

def test_quiet(guest_session): pass

def test_warns(guest_session): guest_session.says("warning", "WARNING: at guilty")

def test_after(guest_session): pass

def test_fails_too(guest_session):
    guest_session.says("oom", "OOM with 12 MiB swap free: hog was killed")
    assert 0, "its own"

def test_skips(guest_session):
    guest_session.says("warning", "WARNING: at skip")
    pytest.skip("no matter")

@pytest.mark.xfail(strict=True, reason="known")
def test_known(guest_session): guest_session.says("warning", "WARNING: at known")

@pytest.mark.kernel_events(allow=["warning"])
def test_kind(guest_session): guest_session.says("warning", "WARNING: at kind")

@pytest.mark.kernel_events(allow="at [gk]uilty")
def test_words(guest_session): guest_session.says("warning", "WARNING: at guilty")

@pytest.mark.kernel_events(allow=["oom"])
def test_other_kind(guest_session): guest_session.says("warning", "WARNING: in oom_kill_process")

@pytest.mark.kernel_events(allow=["("])
def test_no_expression(guest_session): guest_session.says("warning", "WARNING: x")

def test_factory(guest_factory):
    with guest_factory() as guest:
        guest.says("warning", "WARNING: at factory")

def test_hidden(guest_factory):
    with pytest.raises(ValueError):
        with guest_factory() as guest:
            guest.says("warning", "WARNING: at hidden")
            raise ValueError

@pytest.fixture
def late(guest_session):
    yield
    guest_session.says("warning", "WARNING: at teardown")

def test_late(late): pass

def test_last(guest_session): pass
"""


def test_an_event_is_a_failure_of_the_test_in_which_it_came(pytester: pytest.Pytester, made_up: Run) -> None:
    pytester.makepyfile(EVENTS)
    found = made_up("--junitxml=junit.xml", "-rA", "-p", "no:randomly")
    ended = {
        word: {line.split("::")[1].split(" ")[0] for line in found.outlines if line.startswith(f"{word} ")}
        for word in ("PASSED", "FAILED", "ERROR", "XFAIL")
    }
    assert ended == {
        "PASSED": {"test_quiet", "test_after", "test_kind", "test_words", "test_late", "test_last"},
        "FAILED": {
            *("test_warns", "test_fails_too", "test_skips", "test_other_kind", "test_no_expression"),
            *("test_factory", "test_hidden"),
        },
        "ERROR": {"test_late"},
        "XFAIL": {"test_known"},
    }
    xml = ElementTree.parse(pytester.path / "junit.xml")
    texts = {one.get("name"): "".join(one.itertext()) for one in xml.iter("testcase")}
    assert "guilty+0x1/0x2" in texts["test_warns"]
    assert "all that the guest left: " in texts["test_warns"]
    assert "its own" in texts["test_fails_too"]
    assert "OOM with 12 MiB swap free" in texts["test_fails_too"]
    assert "is no regular expression" in texts["test_no_expression"]
    assert "WARNING: at hidden" in texts["test_hidden"]
    assert len([line for line in boots(pytester) if "boots" in line]) == 3


DEATHS = """
import pytest
from harness.pytest_plugin import GuestEnded

@pytest.fixture(scope="module")
def mine(guest_module): return guest_module

def test_first(guest_session, mine): pass

def test_dies(guest_session): guest_session.dies()

def test_new(guest_session): assert guest_session.lives

def test_dies_unseen(mine): mine.dies(seen=False)

def test_new_of_module(mine, guest_module):
    assert mine is guest_module
    assert mine.lives

def test_expected(guest_session):
    with pytest.raises(GuestEnded):
        guest_session.dies()

def test_new_again(guest_session): assert guest_session.lives

def test_own(guest): guest.dies(seen=False)
"""


def test_a_guest_that_dies_fails_its_test_and_the_next_gets_another(pytester: pytest.Pytester, made_up: Run) -> None:
    pytester.makepyfile(DEATHS)
    found = made_up("--junitxml=junit.xml")
    found.assert_outcomes(passed=5, failed=3)
    found.stdout.fnmatch_lines(
        [
            "*GuestEnded: the guest has ended (PANICKED)",
            "ending: PANICKED",
            "panic: Kernel panic*",
            "all that it left: *",
        ]
    )
    assert len([line for line in boots(pytester) if "boots" in line]) == 6


def test_a_shared_guest_is_one_for_each_machine(pytester: pytest.Pytester, made_up: Run) -> None:
    pytester.makepyfile(
        """
        import pytest

        def test_a(guest_session): assert guest_session.machine.ram == 256 << 20

        @pytest.mark.guest(ram="64M")
        def test_b(guest_session): assert guest_session.machine.ram == 64 << 20

        @pytest.mark.guest(ram="64M")
        def test_c(guest_session): assert guest_session.machine.ram == 64 << 20

        @pytest.mark.guest(ram="64M")
        def test_d(guest_session): guest_session.dies()

        @pytest.mark.guest(ram="64M")
        def test_e(guest_session): assert guest_session.lives
        """
    )
    made_up().assert_outcomes(passed=4, failed=1)
    assert len([line for line in boots(pytester) if "boots" in line]) == 3


def test_it_goes_with_what_users_have(pytester: pytest.Pytester, made_up: Run) -> None:
    pytester.makepyfile(
        """
        import time
        from pathlib import Path

        import pytest

        def test_flaky(guest):
            path = Path("tried")
            first = not path.exists()
            path.touch()
            if first:
                guest.dies()

        @pytest.mark.timeout(1)
        def test_slow(guest_session): time.sleep(30)

        def test_next(guest_session): assert guest_session.lives

        def test_warns(guest): guest.says("warning", "WARNING: x")
        """
    )
    made_up("--reruns", "1", "-k", "flaky").stdout.fnmatch_lines(["*1 passed, 3 deselected, 1 rerun*"])
    found = made_up("-k", "not warns")
    found.assert_outcomes(passed=2, failed=1, deselected=1)
    found.stdout.fnmatch_lines(["*Timeout*"])
    found = made_up("-x", "-p", "cacheprovider", "-k", "warns or next")
    found.assert_outcomes(passed=1, failed=1, deselected=2)
    made_up("--lf", "-p", "cacheprovider", "--co", "-q").stdout.fnmatch_lines(["*::test_warns"])


def test_workers_of_xdist_have_guests_of_their_own(pytester: pytest.Pytester, made_up: Run) -> None:
    pytester.makepyfile(
        """
        import os, signal
        import pytest

        @pytest.mark.parametrize("n", range(8))
        def test_one(guest_session, n): assert guest_session.lives

        @pytest.mark.guest(ram=["64M", "96M"])
        def test_two(guest): guest.says("warning", "WARNING: x")

        def test_killed(guest):
            (guest.directory / "swap.img").write_text("x")
            (guest.directory / "scratch").mkdir()
            os.kill(os.getpid(), signal.SIGKILL)
        """
    )
    found = made_up("-n", "2")
    found.assert_outcomes(passed=8, failed=3)
    found.stdout.fnmatch_lines(["*crashed while running*test_killed*"])
    assert not [*pytester.path.glob("store/runs/*/*/*.img"), *pytester.path.glob("store/runs/*/*/scratch")]
    assert {path.name for path in pytester.path.glob("store/locks/guests/*")} == {"gate"}


def results(pytester: pytest.Pytester, plain: Mapping[str, object]) -> None:
    (pytester.path / "results.json").write_text(json.dumps(plain))


KUNIT = {
    "ttm-kunit": {
        "ttm_bo.good": ["PASS", ""],
        "ttm_bo.bad": ["FAIL", "expected 1, got 2"],
        "ttm_bo.oops": ["CRASH", "NULL pointer dereference"],
        "ttm_bo.skip": ["SKIP", "no hardware"],
        "ttm_bo.known": ["XFAIL", "a bug that is known"],
        "ttm_bo.gone": ["NOT_RUN", "in the suite's manifest, but neither announced nor run"],
    },
    "boot": {"kernel": ["PASS", ""]},
}
ENDED = {
    "ttm_bo.good": "PASSED",
    "ttm_bo.bad": "FAILED",
    "ttm_bo.oops": "FAILED",
    "ttm_bo.skip": "SKIPPED",
    "ttm_bo.known": "XFAIL",
    "ttm_bo.gone": "ERROR",
}


def ended(found: pytest.RunResult) -> dict[str, str]:
    """What -v says first of each case: what its teardown said comes after that."""
    found_first: dict[str, str] = {}
    for line in found.outlines:
        words = line.split()
        if len(words) > 1 and "::" in words[0] and words[1].isupper():
            found_first.setdefault(words[0].partition("::")[2], words[1])
    return found_first


def test_cases_of_suites_are_items(pytester: pytest.Pytester, made_up: Run) -> None:
    pytester.makepyfile("def test_not_collected(): assert 0")
    results(pytester, KUNIT)
    found = made_up("--ttm-suite", "ttm-kunit", "-v", "--junitxml=junit.xml", "--durations=1")
    told = ended(found)
    assert told == {name: how for name, how in ENDED.items() if name != "ttm_bo.gone"}
    assert [line for line in boots(pytester) if "runs" in line] == ["alone runs ttm-kunit all"]
    found.stdout.fnmatch_lines(["FAIL ttm-kunit::ttm_bo.bad: expected 1, got 2", "log: */001-x/console.log:7"])
    found.stdout.fnmatch_lines(["1.50s call *ttm-kunit::*"])
    # What had no result is in no list of names; it is told all the same.
    found.stdout.fnmatch_lines(["*ERROR at teardown*", "NOT_RUN ttm-kunit::ttm_bo.gone: *"])
    xml = ElementTree.parse(pytester.path / "junit.xml")
    assert {one.get("classname") for one in xml.iter("testcase")} == {"ttm-kunit"}


def test_names_are_kept_with_the_build(pytester: pytest.Pytester, made_up: Run) -> None:
    results(pytester, KUNIT)
    made_up("--ttm-suite", "ttm-kunit")
    (pytester.path / "boots.log").unlink()
    found = made_up("--ttm-suite", "ttm-kunit", "--co", "-q")
    assert [line for line in found.outlines if "::" in line] == [
        f"ttm-kunit::ttm_bo.{name}" for name in ("good", "bad", "oops", "skip", "known")
    ]
    assert [line for line in boots(pytester) if "prepares" not in line] == []
    # Those of the harness's own modules are in the manifest.
    found = made_up("--ttm-suite", "pressure", "--co", "-q")
    assert len([line for line in found.outlines if line.startswith("pressure::")]) > 100
    found = made_up("--ttm-suite", "xe-kunit", "--co", "-q")
    found.stdout.fnmatch_lines(["*names from the manifest of xe-kunit: it has not run on this kernel yet"])


def test_what_nobody_selected_is_not_run(pytester: pytest.Pytester, made_up: Run) -> None:
    names = ("pressure.hog_beside", "pressure.pool_contract", "unload")
    results(pytester, {"pressure": {name: ["PASS", ""] for name in names}, **KUNIT})
    found = made_up("--ttm-suite", "pressure,ttm-kunit", "pressure::pressure.hog_beside", "-v")
    assert ended(found) == {"pressure.hog_beside": "PASSED"}
    assert [line for line in boots(pytester) if "runs" in line] == ["alone runs pressure hog_beside"]
    found = made_up("--ttm-suite", "pressure", "pressure::no_such")
    found.stdout.fnmatch_lines(["not found: pressure::no_such"])
    assert found.ret != 0
    pytester.makepyfile(test_own="def test_own(): pass")
    found = made_up("--ttm-suite", "pressure", "-k", "hog_beside or own", "test_own.py", "-v")
    assert {line.split(" ")[0] for line in found.outlines if "PASSED" in line} == {
        "test_own.py::test_own",
        "pressure::pressure.hog_beside",
    }


def test_of_kunit_suites_that_share_a_boot_the_selected_cases_run(pytester: pytest.Pytester, made_up: Run) -> None:
    results(pytester, {**KUNIT, "xe-kunit": {"xe_wa.one.TGL (B0)": ["PASS", ""], "xe_wa.two": ["PASS", ""]}})
    words = ("--ttm-suite", "ttm-kunit,xe-kunit", "-v")
    made_up(*words)  # the names are known then
    assert [line for line in boots(pytester) if "runs" in line] == ["alone runs ttm-kunit,xe-kunit all"]
    for expression, expected in (
        ("one or good", ["runs ttm-kunit ttm_bo.good", "runs xe-kunit xe_wa.one"]),
        ("xe_wa or good", ["runs xe-kunit all", "runs ttm-kunit ttm_bo.good"]),
    ):
        (pytester.path / "boots.log").unlink()
        made_up(*words, "-k", expression).assert_outcomes(passed=len(expected) + ("xe_wa" in expression))
        assert [line.removeprefix("alone ") for line in boots(pytester) if "runs" in line] == expected


def test_a_boot_that_is_no_evidence_is_no_green(pytester: pytest.Pytester, made_up: Run) -> None:
    results(pytester, {**KUNIT, "problems": ["RAM: asked 256M, got 128M"]})
    found = made_up("--ttm-suite", "ttm-kunit", "ttm-kunit::ttm_bo.good", "-v")
    assert ended(found) == {"ttm_bo.good": "ERROR"}
    found.stdout.fnmatch_lines(["*its boot is no evidence*", "RAM: asked 256M, got 128M"])
    results(pytester, {**KUNIT, "boot": {"kernel": ["WARN", "WARNING: at nobody; outside every case"]}})
    found = made_up("--ttm-suite", "ttm-kunit", "ttm-kunit::ttm_bo.good")
    found.assert_outcomes(passed=1, errors=1)
    found.stdout.fnmatch_lines(["*WARN: WARNING: at nobody*"])


def test_a_rerun_is_another_boot_with_that_case_alone(pytester: pytest.Pytester, made_up: Run) -> None:
    results(pytester, {"pressure": {"pressure.hog_beside": ["FAIL", "no"], "pressure.pool_contract": ["PASS", ""]}})
    made_up("--ttm-suite", "pressure", "-k", "hog_beside or pool_contract", "--reruns", "2")
    runs = [line for line in boots(pytester) if "runs" in line]
    assert runs == [f"alone runs pressure {cases}" for cases in ("hog_beside,pool_contract", *["hog_beside"] * 2)]


def test_cases_of_a_boot_stay_with_one_worker(pytester: pytest.Pytester, made_up: Run) -> None:
    names = ("hog_beside", "pool_contract", "forward_progress", "noswap_purge")
    results(pytester, {**KUNIT, "pressure": {f"pressure.{name}": ["PASS", ""] for name in names}})
    made_up("--ttm-suite", "ttm-kunit")  # the names are known then
    (pytester.path / "boots.log").unlink()
    pytester.makepyfile(test_own="import pytest\n@pytest.mark.parametrize('n', range(9))\ndef test_own(n): pass")
    words = ("--ttm-suite", "ttm-kunit,pressure", "-k", " or ".join((*names, "ttm_bo", "own")), "test_own.py")
    for more in ((), ("--dist", "loadgroup"), ("--dist", "loadscope")):
        found = made_up("-n", "2", *words, *more)
        found.assert_outcomes(passed=1 + 4 + 9, failed=2, skipped=1, xfailed=1, errors=1)
    runs = [line.split(" ", 1)[1] for line in boots(pytester) if "runs" in line]
    assert sorted(runs) == sorted([*["runs ttm-kunit all"] * 3, *[f"runs pressure {','.join(sorted(names))}"] * 3])


def test_a_root_by_option_and_by_mark(pytester: pytest.Pytester, plain: Run) -> None:
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.guest(root=["busybox", "debian:trixie+python3"])
        def test_both(guest): ...
        """
    )
    found = plain("--collect-only", "-q")
    found.stdout.fnmatch_lines(["*test_both?busybox?", "*test_both?debian:trixie+python3?"])
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.guest(root="debian:")
        def test_none(guest): ...
        """
    )
    plain("--collect-only", "-q").stdout.fnmatch_lines(["*debian:*"])
    assert plain("--ttm-root", "debian:").ret == pytest.ExitCode.USAGE_ERROR
