# SPDX-License-Identifier: GPL-2.0-only
"""Plans: what the text may say, what it stands for, and how a mistake in it is told."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.flow.doctor import family_of_host
from harness.flow.estimate import KernelAhead
from harness.flow.history import read_history
from harness.flow.matrix import check_machines, group_labels, matrix_of, plan_boots
from harness.flow.planfile import MACHINE_KEYS, Axes, Glob, MachineAxes, SuiteName, parse_plan
from harness.flow.plans import DEBIAN, Extras, default_source, load_plan, plain_request, requests_of, shipped_plans
from harness.flow.prepare import too_old_for
from harness.flow.request import Request
from harness.model.compare import Leg
from harness.model.errors import UserError
from harness.model.machine import Accel, Machine
from harness.model.result import LeftOut
from harness.model.tree import SourceKind, SourceSpec, Tree
from harness.model.units import GIB, MIB
from harness.store.journal import Entry, Journal, Step
from harness.store.layout import Layout
from harness.suites.registry import quick_suites, suite_named
from tests.unit.inputs_support import Heard


def requests(text: str, said: Axes | None = None) -> tuple[Request, ...]:
    return requests_of(parse_plan(text, "mine.toml"), said or Axes(), Extras())


def refusal(text: str) -> str:
    with pytest.raises(UserError) as error:
        requests(text)
    return f"{error.value.message} {error.value.hint or ''}"


PRODUCT = """
suites = ["pressure"]
cases = ["hog_beside"]
source = ["debian:7.2", "debian:7.3"]
[machine]
ram = ["192M", "256M"]
swap = ["none", "disk:1G"]
"""


def test_a_product_has_every_combination_once() -> None:
    found = requests(PRODUCT)
    assert len(found) == len(set(found)) == 8
    assert {(one.machine.ram >> 20, str(one.machine.swap)) for one in found} == {
        (ram, swap) for ram in (192, 256) for swap in ("none", "disk:1G")
    }
    assert {one.seed for one in found} == {1}
    assert {one.cases for one in found} == {("hog_beside",)}


def test_an_empty_plan_is_what_run_does() -> None:
    (one,) = requests("")
    assert one == plain_request(Axes(seeds=(1,)), Extras())[0]
    assert plain_request(Axes(), Extras())[0].seed is None


def test_options_stand_in_place_of_the_plans_words() -> None:
    said = Axes(
        source=(SourceSpec.parse("debian:6.12"),),
        machine=MachineAxes((("ram", (512 * MIB,)),)),
        repeat=(3,),
        seeds=(9,),
    )
    found = requests(PRODUCT, said)
    assert {str(one.kernel.source) for one in found} == {"debian:6.12"}
    assert {one.machine.ram for one in found} == {512 * MIB}
    assert {(one.seed, one.repeat) for one in found} == {(9, 3)}
    assert len(found) == 2


def test_products_cells_and_exclusion() -> None:
    found = requests(
        PRODUCT
        + """
        [[product]]
        source = "debian:7.2"
        [[product]]
        source = "debian:7.3"
        machine.ram = "1G"
        [[cell]]
        suites = ["ttm-kunit", "xe-kunit"]
        source = "debian:6.12"
        machine.ram = "64M"
        machine.swap = "none"
        cases = []
        [[exclude]]
        source = "debian:7.2"
        machine.swap = "none"
        """.replace("cases = []", "")
    )
    machines = [(str(one.kernel.source), one.machine.ram >> 20, str(one.machine.swap)) for one in found]
    assert machines == [
        ("debian:7.2", 192, "disk:1G"),
        ("debian:7.2", 256, "disk:1G"),
        ("debian:7.3", 1024, "none"),
        ("debian:7.3", 1024, "disk:1G"),
        ("debian:6.12", 64, "none"),
    ]


def test_an_exclusion_can_take_a_suite_alone() -> None:
    found = requests("suites = ['ttm-kunit', 'pressure']\n[[exclude]]\nsuites = ['pressure']\n")
    assert [one.suites for one in found] == [("ttm-kunit",)]


def test_knobs_are_axes() -> None:
    found = requests("suites=['pressure']\n[knobs]\ncaching=['wb','wc']\nthreads=[1, 2]\n")
    assert {tuple((knob.name, knob.value) for knob in one.knobs) for one in found} == {
        (("caching", caching), ("threads", threads)) for caching in ("wb", "wc") for threads in ("1", "2")
    }


def test_the_same_combination_from_two_products_is_run_once() -> None:
    assert len(requests("[[product]]\nsuites=['pressure']\n[[product]]\nsuites=['pressure']\n")) == 1


def test_plans_include_plans(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text("include = ['quick', 'b.toml']\n")
    (tmp_path / "b.toml").write_text("suites = ['xe-kunit']\n")
    found = requests_of(load_plan(str(tmp_path / "a.toml")), Axes(), Extras())
    assert [one.suites for one in found] == [quick_suites(), ("xe-kunit",)]
    (tmp_path / "b.toml").write_text("include = ['a.toml']\n")
    with pytest.raises(UserError, match="includes itself"):
        requests_of(load_plan(str(tmp_path / "a.toml")), Axes(), Extras())


@pytest.mark.parametrize("name", ["quick", "ttm-shrinker", "nightly", "stress"])
def test_the_shipped_plans_are_right(name: str) -> None:
    found = requests_of(load_plan(name), Axes(), Extras())
    assert matrix_of(found).boots < 500
    assert load_plan(name).title


def test_the_readme_names_every_shipped_plan() -> None:
    readme = (Path(next(iter(shipped_plans().values()))).parent / "README.md").read_text()
    assert set(shipped_plans()) == {"quick", "ttm-shrinker", "nightly", "stress"}
    assert all(f"| `{name}` |" in readme for name in shipped_plans())
    assert all(f"`{key}`" in readme for key in MACHINE_KEYS)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("suits = ['pressure']", ("mine.toml", "suits", "did you mean suites", "allowed: source")),
        ("suites = ['pressur']", ("suites", "no suite 'pressur'", "ttm-kunit")),
        ("suites = []", ("suites", "the list is empty")),
        ("suites = ['pressure', 'pressure']", ("suites", "twice")),
        ("profile = 'leen'", ("profile", "'leen'", "lean")),
        ("source = 'git:/x'", ("source", "git:DIR@REV")),
        ("source = 3", ("source", "3 is not a string")),
        ("base = ['debian:6.12', 'debian']", ("base", "takes one value")),
        ("series = ''", ("series", "is empty")),
        ("repeat = 0", ("repeat", "1 to 10000")),
        ("repeat = '3'", ("repeat", "not an integer")),
        ("repeat = true", ("repeat", "not an integer")),
        ("repeat = 2\nseeds = [1, 2]", ("repeat", "several seeds")),
        ("seeds = [-1]", ("seeds", "out of range")),
        ("cases = ['a b']", ("cases", "not a glob")),
        ("cases = ['']", ("cases", "no letter")),
        ("title = 3", ("title", "string")),
        ("include = [3]", ("include", "names of plans")),
        ("include = ['nowhere']", ("no plan 'nowhere'", "quick")),
        ("product = 3", ("product", "not a list of tables")),
        ("[machine]\nrm = '1G'", ("machine.rm", "did you mean ram", "cpus")),
        ("[machine]\nram = 'lots'", ("machine.ram", "'lots' is not a size")),
        ("[machine]\nram = '3M'", ("machine", "cannot have 3M")),
        ("[machine]\nswap = 'tape:1G'", ("machine.swap", "no known kind")),
        ("[machine]\nswap = 1", ("machine.swap", "not a string")),
        ("[machine]\ncpus = 99", ("machine", "99 vCPUs", "1 to 8")),
        ("[machine]\naccel = 'xen'", ("machine.accel", "'xen'", "auto, kvm, tcg")),
        ("[machine]\ncmdline = ['a\"b']", ("machine.cmdline", "quote")),
        ("machine = 'big'", ("machine", "is not a table")),
        ("knobs = ['x']", ("knobs", "is not a table")),
        ("[knobs]\nbo = [{}]", ("knobs.bo", "not a string")),
        ("[[cell]]\nsource = ['debian', 'debian:6.12']", ("cell[1].source", "[[product]]")),
        ("[[cell]]\nmachine.ram = ['64M', '128M']", ("cell[1].machine.ram", "[[product]]")),
        ("[[product]]\n[[product]]\nsuite = 'x'", ("product[2].suite", "did you mean suites")),
        ("[[product]]\ntitle = 'x'", ("product[1].title", "no such key")),
        ("[[exclude]]", ("exclude[1]", "names nothing")),
        ("[[exclude]]\nrepeat = 2", ("exclude[1].repeat",)),
        ("[[exclude]]\nmachine.ram = '7G'", ("exclude[1]", "leaves out nothing")),
        ("[[exclude]]\nmachine.ram = '256M'", ("no cell over",)),
        ("source = [", ("mine.toml is not TOML",)),
        ("\x00", ("mine.toml is not TOML",)),
    ],
)
def test_a_mistake_names_file_key_and_what_may_stand_there(text: str, words: tuple[str, ...]) -> None:
    said = refusal(text)
    assert all(word in said for word in words), said


def test_all_mistakes_are_told_at_once() -> None:
    said = refusal("suites = ['x']\nprofil = 'y'\n[machine]\nram = 'z'\ncpu = 1\n")
    assert all(word in said for word in ("suites:", "profil:", "machine.ram:", "machine.cpu:"))
    assert said.count("mine.toml:") == 4


TOML_VALUE = st.recursive(
    st.one_of(st.booleans(), st.integers(), st.floats(), st.text(max_size=8)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3)),
    max_leaves=6,
)
KEYS = (
    "title",
    "include",
    "product",
    "cell",
    "exclude",
    "source",
    "series",
    "suites",
    "machine",
    "knobs",
    "seeds",
    "x",
)


def toml(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return '"' + "".join(f"\\U{ord(c):08x}" for c in value if not 0xD800 <= ord(c) < 0xE000) + '"'
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{toml(key)} = {toml(one)}" for key, one in value.items()) + "}"
    return str(value)


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from(KEYS), TOML_VALUE, max_size=4))
def test_no_toml_is_more_than_a_users_mistake(table: dict[str, object]) -> None:
    try:
        parse_plan("".join(f"{key} = {toml(value)}\n" for key, value in table.items()), "mine.toml")
    except UserError as error:
        assert "mine.toml" in error.message


TCG = dict.fromkeys(Accel, Accel.TCG)


def kernel_known(build_id: str, *left_out: LeftOut) -> KernelAhead:
    return KernelAhead("7.3.4", "o", "lean", build_id, Accel.TCG, 0.0, left_out)


def test_suites_that_nobody_named_are_left_out_of_a_kernel_that_cannot_have_them() -> None:
    (asked,) = plain_request(Axes(base=(SourceSpec.parse("debian:6.12"),), seeds=(1,)), Extras())
    assert asked.as_they_fit
    assert "xe-fake" in asked.suites
    matrix = matrix_of((asked,))
    assert asked.base is not None and set(matrix.kernels) == {asked.kernel, asked.base}
    assert all(may_lack for suites in matrix.kernels.values() for may_lack in suites.values())
    kernels = {
        asked.kernel: kernel_known("a" * 64),
        asked.base: kernel_known("b" * 64, LeftOut("xe-fake", "6.12.9", "b" * 64, "too old", counts=False)),
    }
    boots = [(one.leg, one.cell.suites) for one in plan_boots(matrix, kernels, TCG, "qemu")]
    assert (Leg.TIP, ("xe-fake",)) in boots
    assert (Leg.BASE, ("xe-fake",)) not in boots
    assert [suites for leg, suites in boots if leg is Leg.BASE] == [("ttm-kunit", "xe-kunit"), ("pressure",)]


def test_suites_of_the_command_line_are_never_left_out() -> None:
    said = Axes(suites=(SuiteName("xe-fake"),))
    assert not any(one.as_they_fit for one in plain_request(said, Extras()))
    assert not any(one.as_they_fit for one in requests_of(load_plan("quick"), said, Extras()))
    assert all(one.as_they_fit for one in requests_of(load_plan("quick"), Axes(), Extras()))


@pytest.mark.parametrize("name", ["quick", "ttm-shrinker", "nightly", "stress"])
def test_other_suites_in_a_shipped_plan_leave_out_knobs_that_are_not_theirs(name: str) -> None:
    for suite in ("pressure", "xe-fake", "ttm-kunit"):
        found = requests_of(load_plan(name), Axes(suites=(SuiteName(suite),), cases=()), Extras())
        if name != "stress" or suite == "pressure":  # its cases are pressure's
            assert all(knob.name in {one.name for one in suite_named(suite).knobs} for r in found for knob in r.knobs)


def test_cases_of_a_plan_with_several_suites_want_a_suite() -> None:
    said = Axes(cases=(Glob("hog_beside"),))
    with pytest.raises(UserError, match="several suites"):
        requests_of(load_plan("ttm-shrinker"), said, Extras())
    assert requests_of(load_plan("ttm-shrinker"), replace(said, suites=(SuiteName("pressure"),)), Extras())


@pytest.mark.parametrize("there", [True, False])
@pytest.mark.parametrize("version", ["6.12.117", "7.3.4"])
def test_a_kernel_is_too_old_by_what_it_has_and_not_by_its_version(tmp_path: Path, version: str, there: bool) -> None:
    tree = Tree("a" * 64, version, "o", tmp_path, "s")
    makefile = tmp_path / "drivers/gpu/drm/xe/Makefile"
    makefile.parent.mkdir(parents=True)
    makefile.write_text("xe-y += xe_shrinker.o\n" if there else "xe-y += xe_bo.o\n")
    suites = [suite_named(name) for name in quick_suites()]
    found = list(too_old_for(suites, tree, "b" * 64))
    # One that should have it is not too old: it is left out, and that leaves no good verdict.
    counts = version == "7.3.4"
    assert [(one.suite, one.version, one.counts) for one in found] == (
        [] if there else [("xe-fake", version, counts)]
    )
    assert all("00c8efc3180f" in one.why for one in found)


def test_where_the_file_is_not_there_the_version_decides(tmp_path: Path) -> None:
    for version, fits in (("6.14-rc3", False), ("6.15", True), ("6.15-rc3", True), ("10.0.1", True)):
        tree = Tree("a" * 64, version, "o", tmp_path, "s")
        assert (not list(too_old_for([suite_named("xe-fake")], tree, "b" * 64))) is fits


def planned(text: str, build: str = "b" * 64) -> list[tuple[int, Leg, str, str, str]]:
    asked = requests(text)
    matrix = matrix_of(asked)
    kernels = {kernel: kernel_known(f"{place}{build}") for place, kernel in enumerate(matrix.kernels)}
    return [
        (one.number, one.leg, one.group, one.cell.id, one.key)
        for one in plan_boots(matrix, kernels, TCG, "qemu 9, vng 1")
    ]


def test_ids_are_the_same_every_time_and_differ_with_what_goes_in() -> None:
    text = PRODUCT + "base = 'debian:6.12'\n".join(["", ""])
    text = "base = 'debian:6.12'\n" + PRODUCT
    first = planned(text)
    assert first == planned(text)
    assert len(first) == 16
    assert {one[3] for one in first}.isdisjoint(one[3] for one in planned(text, build="c" * 64))
    assert [one[1] for one in first[:4]] == [Leg.BASE, Leg.TIP, Leg.BASE, Leg.TIP]


def test_a_base_that_two_sources_share_is_the_same_cell() -> None:
    base = [one for one in planned("base = 'debian:6.12'\n" + PRODUCT) if one[1] is Leg.BASE]
    assert len({one[3] for one in base}) == 4
    assert len({one[2] for one in base}) == 8


def test_repeats_have_seeds_of_their_own() -> None:
    ids = [one[3] for one in planned("suites = ['pressure']\nrepeat = 3\n")]
    assert len(set(ids)) == 3
    assert ids == [one[3] for one in planned("suites = ['pressure']\nseeds = [1, 2, 3]\n")]


def test_groups_say_what_tells_machines_apart() -> None:
    assert {one[2] for one in planned("suites = ['pressure']\nseeds = [1, 2]\n")} == {""}
    one_swap = requests("[machine]\nram = ['192M', '256M']\n")
    assert group_labels(one_swap) == ("192M RAM", "256M RAM")
    one_ram = requests("[machine]\nswap = ['none', 'disk:1G']\n")
    assert group_labels(one_ram) == ("256M RAM, swap none", "256M RAM, swap disk:1G")
    assert len(set(group_labels(requests(PRODUCT)))) == 8


def test_a_machine_that_no_host_carries_is_refused_with_a_sentence() -> None:
    (one,) = plain_request(Axes(machine=MachineAxes((("ram", (1 << 50,)),))), Extras())
    assert one.machine == Machine(ram=1 << 50)
    with pytest.raises(UserError, match="cannot carry a guest with 1024T of RAM"):
        check_machines([one])
    check_machines(plain_request(Axes(machine=MachineAxes((("ram", (64 * MIB,)),))), Extras()))
    assert one.machine.ram > 1000 * GIB


def test_a_plan_looks_at_so_many_boots_of_the_past_and_no_more(
    scratch_layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(4):
        directory = scratch_layout.runs / f"2026113{number}T000000-abcdef"
        (directory / "001-c").mkdir(parents=True)
        with Journal(directory) as journal:
            journal.append(Entry(Step.FINISHED, 1, "c", "001-c", f"key {number}", seconds=number, verdict="good"))
    assert set(read_history(scratch_layout).kept) == {"key 0", "key 1", "key 2", "key 3"}
    monkeypatch.setattr("harness.flow.history._MOST", 2)
    assert set(read_history(scratch_layout).kept) == {"key 2", "key 3"}


@pytest.mark.parametrize(
    ("own", "tools", "source", "family"),
    [
        (True, {"apt-get", "pacman", "dnf"}, DEBIAN, "apt"),
        (False, {"apt-get", "pacman"}, SourceSpec(SourceKind.KERNEL_ORG), "pacman"),
        (False, {"apt-get", "dnf"}, SourceSpec(SourceKind.KERNEL_ORG), "dnf"),
        (False, {"apt-get"}, SourceSpec(SourceKind.KERNEL_ORG), "apt"),
    ],
)
def test_where_apt_is_not_the_hosts_own_the_source_is_of_kernel_org(
    monkeypatch: pytest.MonkeyPatch, own: bool, tools: set[str], source: SourceSpec, family: str
) -> None:
    for room in ("plans", "doctor"):
        monkeypatch.setattr(f"harness.flow.{room}.apt_is_own", lambda: own)
    monkeypatch.setattr("harness.flow.doctor.find_tool", lambda name: Path(name) if name in tools else None)
    heard = Heard()
    assert default_source(heard) == source
    assert [step for step in heard.steps if "kernel.org's newest release" in step] == heard.steps
    assert bool(heard.steps) is not own
    extras = Extras(source=default_source(heard))
    assert [one.kernel.source for one in plain_request(Axes(seeds=(1,)), extras)] == [source]
    assert {one.kernel.source for one in requests_of(load_plan("quick"), Axes(), extras)} == {source}
    found = family_of_host()
    assert found is not None
    assert found.name == family
