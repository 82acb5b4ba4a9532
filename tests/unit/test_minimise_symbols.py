# SPDX-License-Identifier: GPL-2.0-only
"""A smaller Kconfig: which lines of it may go, and the kernel that is left; the bundle of the smallest boot."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from harness.checkout import data_directory
from harness.flow import minimise as minimise_module
from harness.flow.minimise import (
    BootToShrink,
    command_of,
    plan_text,
    problem_of,
    smaller,
    trial_words,
    with_bundle,
    with_symbols,
)
from harness.flow.prepare import profile_of
from harness.flow.symbols import symbols_of
from harness.kernel.fragments import all_asks, parse_fragment, read_profile
from harness.model.errors import UserError
from harness.model.kernel import KernelSpec
from harness.model.search import MINIMISE_SCHEMA, Answer, BootVotes, MinimiseOutput, Predicate, Sight
from harness.model.tree import SourceSpec
from harness.store.layout import Layout
from tests.unit.results_support import Quiet
from tests.unit.stand_in.cells import request

LEAN = KernelSpec(SourceSpec.parse("debian:7.3"))
DEBUG = replace(LEAN, profile="debug", build="c" * 64)


def values(kernel: KernelSpec) -> dict[str, str]:
    return {ask.symbol: ask.value for ask in all_asks(profile_of(kernel))}


def test_what_a_larger_profile_asks_for_can_go(tmp_path: Path) -> None:
    symbols = symbols_of(DEBUG, tmp_path)
    assert symbols.profile == "lean"
    assert "KASAN" in symbols.names
    assert symbols.kernel(DEBUG, symbols.names) is DEBUG
    assert symbols.kernel(DEBUG, ()) == replace(LEAN, profile="lean")
    some = symbols.kernel(DEBUG, ("KASAN",))
    assert (some.profile, some.build, len(some.fragments)) == ("lean", "", 1)
    there = {ask.symbol for ask in all_asks(read_profile("lean", data_directory("kernel-configs")))}
    assert set(values(some)) - there == {"KASAN"}
    assert symbols.kernel(DEBUG, ("KASAN",)) == some


def test_the_users_own_symbols_can_go_with_the_kernels_that_they_are_for(tmp_path: Path) -> None:
    path = tmp_path / "mine.config"
    path.write_text(
        "# CONFIG_PRINTK_TIME is not set\n\n# since 7.0: as it is called now\nCONFIG_NEW=y\n\n"
        "# before 7.0: as it was\nCONFIG_NEW=m\nCONFIG_HZ=100\n"
    )
    symbols = symbols_of(replace(LEAN, fragments=(path,)), tmp_path)
    assert symbols.names == ("PRINTK_TIME", "NEW", "HZ")
    (own,) = symbols.kernel(LEAN, ("PRINTK_TIME", "NEW")).fragments
    asks = parse_fragment(own.stem, own.read_text()).asks
    was = [ask for ask in parse_fragment("mine", path.read_text()).asks if ask.symbol != "HZ"]
    assert [replace(ask, fragment="", line=0) for ask in asks] == [replace(ask, fragment="", line=0) for ask in was]


def test_a_profile_alone_has_nothing_to_leave_out(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nothing on top of the profile tiny"):
        symbols_of(replace(LEAN, profile="tiny"), tmp_path)


def test_symbols_are_parts_of_the_problem(tmp_path: Path) -> None:
    asked = replace(request(), kernel=DEBUG)
    subject = with_symbols(BootToShrink("RUN/001", asked, Predicate(), ()), tmp_path)
    problem = problem_of(subject)
    assert problem.sets[-1].name == "config"
    assert smaller(subject, problem.whole) == asked
    found = smaller(subject, problem.whole.with_parts("config", ("KASAN",)))
    (own,) = found.kernel.fragments
    assert f"--fragment {own}" in command_of(found)
    assert f'profile = "lean"  # and run with --fragment {own.name}' in plan_text(found, "RUN/001")


def test_a_trial_says_how_many_symbols_and_patches_it_has(tmp_path: Path) -> None:
    asked = replace(request(), kernel=DEBUG)
    subject = replace(with_symbols(BootToShrink("RUN/001", asked, Predicate(), ()), tmp_path), patches=3)
    whole = problem_of(subject).whole
    count = len(whole.parts("config"))
    assert trial_words(subject, whole).endswith(f", 3 patches, {count} of {count} symbols")
    some = whole.with_parts("config", ("KASAN", "PROVE_LOCKING"))
    assert trial_words(subject, some).endswith(f", 2 of {count} symbols (KASAN, PROVE_LOCKING)")
    assert trial_words(subject, whole.with_parts("config", ())).endswith(f", 0 of {count} symbols")


OUTPUT = MinimiseOutput(
    schema=MINIMISE_SCHEMA,
    boot="RUN/001",
    question="anything red",
    failed=True,
    finished=True,
    whole=BootVotes(3),
    smallest=BootVotes(3),
    shrunk=(),
    boots=6,
    kept=0,
    seconds=1.0,
    plan="",
    command="",
    sights=(Sight(Answer.GOOD, run="R", boot="1"), Sight(Answer.BAD, run="R", boot="2")),
)


def test_a_bundle_is_of_a_boot_that_failed(
    tmp_path: Path, scratch_layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(minimise_module, "find_boot", lambda _, name: name)
    monkeypatch.setattr(minimise_module, "make_bundle", lambda kept, *_: f"hash of {kept}")
    assert with_bundle(OUTPUT, tmp_path / "b", scratch_layout, Quiet()).bundle == "hash of R/2"
    none = replace(OUTPUT, sights=OUTPUT.sights[:1])
    assert with_bundle(none, tmp_path / "b", scratch_layout, Quiet()) == none


def test_what_cannot_be_packed_costs_no_answer(
    tmp_path: Path, scratch_layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuses(*_: object) -> str:
        raise UserError("a bundle has no root file system of Debian")

    monkeypatch.setattr(minimise_module, "find_boot", lambda _, name: name)
    monkeypatch.setattr(minimise_module, "make_bundle", refuses)
    found = with_bundle(OUTPUT, tmp_path / "b", scratch_layout, Quiet())
    assert (found.bundle, found.no_bundle) == ("", "a bundle has no root file system of Debian")
