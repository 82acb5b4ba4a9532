# SPDX-License-Identifier: GPL-2.0-only
"""From somebody's report to a plan: real reports of this project's guests, and made-up ones of other machines."""

from __future__ import annotations

import re
from dataclasses import replace
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.evidence.host import HostReader
from harness.evidence.lines import decode
from harness.evidence.oom_class import read_ooms
from harness.flow.from_dmesg import SeenLog, Wish, propose_plan, read_log
from harness.flow.planfile import Axes, parse_plan
from harness.flow.plans import Extras, requests_of
from harness.flow.request import Request
from harness.judge.callpath import CallPath, call_path
from harness.judge.ledger import ledger_of
from harness.judge.likeness import compare_ooms, same_kind
from harness.model.codec import from_json, to_json
from harness.model.errors import HarnessError, NoScenario, UserError
from harness.model.oom import Oom
from harness.model.scenario import HostFacts, Reproduction, SeenSwap
from harness.model.tree import SourceSpec
from harness.model.units import GIB, KIB, MIB
from harness.reports.scenario import likeness_lines
from harness.suites.knobs import check_knobs
from harness.suites.registry import registry, suite_named
from tests.unit.oom_texts import CPUSET, GROUP, I386, LAPTOP, OTHER_SPLAT, PHONE, QUIET, REPORTS, SERVER_4_15, SPLAT
from tests.unit.test_oom import SCENARIOS, golden
from tests.unit.test_prefixes import FORMS

DEBIAN = SourceSpec.parse("debian")
few = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
STAMPED = re.compile(r"\[ *(\d+\.\d{6})\] (.*)")


def log_of(text: str | bytes) -> SeenLog:
    return read_log([text if isinstance(text, bytes) else text.encode()])


def proposed(text: str | bytes, wish: Wish | None = None) -> Reproduction:
    return propose_plan(log_of(text), wish or Wish(), DEBIAN)


def requested(found: Reproduction) -> Request:
    """What the plan asks for, once it was read as any plan is."""
    (request,) = requests_of(parse_plan(found.plan, "plan"), Axes(), Extras())
    check_knobs(request.knobs, [suite_named(name) for name in request.suites])
    return request


def knobs(found: Reproduction) -> dict[str, str]:
    return {knob.name: knob.value for knob in requested(found).knobs}


def oom_of(text: str | bytes) -> Oom:
    return read_ooms(decode(text if isinstance(text, bytes) else text.encode()))[0]


# ---- what is proposed ----


@pytest.mark.parametrize("scenario", [name for name in SCENARIOS if "sysrq" not in name])
def test_every_real_report_gives_a_plan_that_loads(scenario: str) -> None:
    found = proposed(golden(scenario))
    request = requested(found)
    assert request.suites == ("oom",)
    # Each of these guests was small: nothing had to be scaled down, and it is told where it was.
    assert 96 * MIB <= request.machine.ram <= 320 * MIB
    assert from_json(Reproduction, to_json(found)) == found


def test_objects_without_a_shrinker_and_a_locked_hog() -> None:
    found = proposed(golden("objects-and-a-locked-hog-leave-swap-free-on-6.12"))
    request = requested(found)
    assert (str(request.kernel.source), request.machine.ram, str(request.machine.swap)) == (
        "debian:6.12",
        320 * MIB,
        "zram:512M",
    )
    # The module had 225 MiB, which no counter of that kernel names; the hog's memory was locked.
    assert knobs(found) == {"objects": "221M", "slab": "7M", "hog": "97M", "lock": "1"}
    assert "230 MiB (77 % of memory) are in no counter" in found.plan


def test_gpu_pages_are_taken_from_the_kernels_own_counter() -> None:
    found = proposed(golden("gpu-objects-held-without-swap-on-7.3"))
    assert knobs(found)["objects"] == "77M"
    assert "GPUActive" in found.plan
    assert "in no counter" not in found.plan


def test_a_laptop_is_scaled_and_the_ratios_are_kept() -> None:
    found = proposed(LAPTOP)
    request, scenario = requested(found), found.scenario
    assert scenario is not None
    machine = request.machine
    assert machine.ram == 512 * MIB
    assert machine.swap.areas[0].kind == "zram"
    assert machine.swap.size / machine.ram == pytest.approx(4 / 8, abs=0.05)
    objects = int(knobs(found)["objects"].rstrip("M")) * MIB
    # 81 % are in no counter, of which compressed swap has up to 9 points and 3 are always missing.
    assert objects / machine.ram == pytest.approx(0.69, abs=0.06)
    assert machine.min_free == pytest.approx(67584 * KIB * scenario.scale, rel=0.01)
    # In pages, so with the memory; the machine's words that are no module's are left out.
    assert machine.cmdline == ("ttm.pages_limit=100767", "ttm.page_pool_size=4199")
    assert "firefox 512 MiB + 1.0 GiB in swap, oom_score_adj 100" in found.plan.replace("\n# ", " ")


def test_swap_that_was_free_stays_free_for_a_kernel_that_uses_it() -> None:
    """Else every kernel would run out of memory, and the run would tell nothing."""
    request = requested(proposed(LAPTOP))
    values = {knob.name: int(knob.value.rstrip("M")) for knob in request.knobs}
    room = (request.machine.ram + request.machine.swap.size) // MIB
    assert sum(values.values()) < room
    assert sum(values.values()) > request.machine.ram // MIB


def test_a_machine_without_swap_cannot_survive_it() -> None:
    found = proposed(SERVER_4_15)
    request = requested(found)
    assert str(request.machine.swap) == "none"
    assert sum(int(value.rstrip("M")) for value in knobs(found).values()) * MIB > request.machine.ram
    assert str(request.kernel.source) == "debian:6.12"
    assert "older than 6.12" in found.plan


def test_a_cgroup_and_its_limit_are_scaled() -> None:
    request = requested(proposed(GROUP))
    assert (request.machine.ram, request.machine.memory_max) == (256 * MIB, 128 * MIB)
    hog = next(int(knob.value.rstrip("M")) for knob in request.knobs if knob.name == "hog")
    assert hog * MIB > 128 * MIB


def test_an_order_and_another_architecture() -> None:
    found = proposed(PHONE)
    assert {"last": "pipes", "order": "3", "left": "74M"}.items() <= knobs(found).items()
    assert requested(found).machine.watermark_scale == 51
    assert found.scenario is not None
    assert "the report is of arm64" in " ".join(found.scenario.notes)


def test_ram_and_source_can_be_said() -> None:
    found = proposed(LAPTOP, Wish(ram=128 * MIB, source=SourceSpec.parse("kernel.org:6.8")))
    assert requested(found).machine.ram == 128 * MIB
    assert 'source = "kernel.org:6.8"' in found.plan


def test_one_of_several_reports() -> None:
    log = golden("three-ooms-in-a-flood-of-two-writers-on-7.3")
    first, third = proposed(log), proposed(log, Wish(report=3))
    assert first.reports == 3 and "number 1" in first.problems[0]
    assert first.oom is not None and third.oom is not None
    assert (first.oom.sentence.split()[4], third.oom.sentence.split()[4]) != ("", "")
    assert first.oom != third.oom
    with pytest.raises(UserError, match="no report 4"):
        proposed(log, Wish(report=4))


def test_a_splat_in_what_a_suite_is_about() -> None:
    found = proposed(SPLAT)
    request = requested(found)
    assert request.suites == ("pressure",)
    assert (request.machine.ram, str(request.machine.swap)) == (512 * MIB, "zram:256M")
    assert request.machine.cmdline == ("ttm.pages_limit=65536",)
    assert found.event is not None and found.oom is None


# ---- what cannot be brought about ----


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (I386, "32-bit one that ran out of low memory"),
        (CPUSET, r"572 GiB of memory were free.*constraint CPUSET"),
        (OTHER_SPLAT, r"no suite of this harness goes where.*snd_foo.*through snd\)"),
        (QUIET, "no report of the OOM killer and no splat"),
        ("\n".join(LAPTOP.splitlines()[4:6]) + "\n", "does not say where the memory was"),
    ],
)
def test_what_no_guest_can_come_to_is_said(text: str, said: str) -> None:
    with pytest.raises(NoScenario, match=said):
        proposed(text)


@pytest.mark.parametrize("scenario", [name for name in SCENARIOS if "sysrq" in name])
def test_a_kill_that_somebody_asked_for_says_nothing(scenario: str) -> None:
    with pytest.raises(NoScenario, match="sysrq f"):
        proposed(golden(scenario))


@pytest.mark.parametrize(
    ("data", "said"), [(b"", "empty"), (b"hello\n", "no line"), (bytes(range(256)) * 99, "no line")]
)
def test_what_is_no_log_is_a_mistake(data: bytes, said: str) -> None:
    with pytest.raises(UserError, match=said):
        proposed(data)


# ---- however it comes ----


def written(text: str, form: str) -> str:
    """A log as another program shows it; what follows a record belongs to it."""
    lines = []
    for line in text.splitlines():
        match = STAMPED.match(line)
        lines.append(FORMS[form](float(match[1]), match[2]) if match else line)
    return "\n".join((*lines, ""))


def parts(found: Reproduction) -> tuple[object, ...]:
    scenario = found.scenario
    assert scenario is not None
    return scenario.machine, scenario.knobs, scenario.suites


@pytest.mark.parametrize("form", [name for name in FORMS if "logcat" not in name])
def test_the_plan_is_the_same_under_every_prefix(form: str) -> None:
    assert parts(proposed(written(GROUP, form))) == parts(proposed(GROUP))
    assert parts(proposed(written(PHONE, form))) == parts(proposed(PHONE))


@pytest.mark.parametrize("name", REPORTS)
def test_quoted_in_a_mail(name: str) -> None:
    quoted = "Hello,\n\nthis is what I see:\n\n" + "".join(f"> {line}\n" for line in REPORTS[name].splitlines())
    assert parts(proposed(f"{quoted}\nAny idea?\n")) == parts(proposed(REPORTS[name]))


@pytest.mark.parametrize("scenario", ["global-oom-kills-the-hog-on-7.3", "gpu-objects-gone-to-swap-on-7.3"])
def test_the_newest_line_first(scenario: str) -> None:
    plain = golden(scenario)
    turned = b"".join(reversed(plain.splitlines(keepends=True)))
    found = proposed(turned)
    assert parts(found) == parts(proposed(plain))
    assert any("newest line comes first" in line for line in found.problems)


@few
@given(name=st.sampled_from(sorted(REPORTS)), first=st.integers(0, 4000), length=st.integers(0, 6000))
def test_cut_anywhere_it_gives_a_plan_that_loads_or_a_sentence(name: str, first: int, length: int) -> None:
    try:
        found = proposed(REPORTS[name][first : first + length])
    except HarnessError as error:
        assert error.message and "\n" not in error.message
        return
    requested(found)


SIZES = st.sampled_from(("0", "1", "4096", "999999999999999999", "123456789012", "18446744073709551615", "-5"))


@few
@given(name=st.sampled_from(sorted(REPORTS)), seed=st.randoms(use_true_random=False), size=SIZES)
def test_hostile_numbers_give_a_plan_that_loads_or_a_sentence(name: str, seed: Random, size: str) -> None:
    choose = seed.random
    text = re.sub(r"(?<=[:= ])\d+(?=kB| |$)", lambda m: size if choose() < 0.2 else m[0], REPORTS[name], flags=re.M)
    try:
        found = proposed(text)
    except HarnessError as error:
        assert error.message
        return
    requested(found)


@few
@given(name=st.text(min_size=1, max_size=15), release=st.text(max_size=20))
def test_names_from_a_log_do_no_harm_to_the_plan(name: str, release: str) -> None:
    text = LAPTOP.replace("firefox", name).replace("6.8.0-31-generic", release)
    try:
        requested(proposed(text.encode("utf-8", "replace")))
    except HarnessError as error:
        assert error.message


# ---- where the memory was ----


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_the_parts_are_no_more_than_the_whole(scenario: str) -> None:
    ledger = ledger_of(oom_of(golden(scenario)).report)
    if ledger.unaccounted is None:
        return
    assert ledger.managed is not None
    names = ("free", "anon", "file", "shmem", "unevictable", "slab", "kernel", "gpu", "huge", "unaccounted")
    assert sum(getattr(ledger, name) or 0 for name in names) == pytest.approx(ledger.managed, rel=0.01)


@pytest.mark.parametrize(("kib", "size"), [(1200000, 4), (4800000, 16), (19200000, 64), (700000000, 4)])
def test_pages_are_as_large_as_the_zones_say_where_the_free_lists_are_cut(kib: int, size: int) -> None:
    report = oom_of(PHONE.replace("Normal free:1200000kB", f"Normal free:{kib}kB")).report
    assert report.page_size == size * KIB
    assert report.memory.total("free") == 300000 * size * KIB


def test_what_no_counter_names_is_little_without_objects() -> None:
    for scenario in ("global-oom-kills-the-hog-on-7.3", "global-oom-with-all-swap-used-on-6.12"):
        ledger = ledger_of(oom_of(golden(scenario)).report)
        assert ledger.unaccounted is not None and ledger.unaccounted < MIB
        assert "objects" not in knobs(proposed(golden(scenario)))


def test_the_machine_is_read_from_what_the_kernel_said_at_boot() -> None:
    reader = HostReader()
    reader.feed(decode(LAPTOP.encode()))
    assert reader.facts() == HostFacts(
        "6.8.0-31-generic",
        ("root=/dev/nvme0n1p2", "ttm.pages_limit=1572864", "ttm.page_pool_size=65536", "quiet", "splash"),
        8 * GIB,
        (SeenSwap("/dev/zram0", 4194300 * KIB),),
    )
    reader.feed(
        decode(b"[    0.000000] Linux version 6.9.0 (x@y)\n[    1.000000] zswap: loaded using pool lzo/zbud\n")
    )
    assert reader.facts() == HostFacts("6.9.0", zswap=True)


def test_it_is_read_from_a_block_without_anything_else_of_interest() -> None:
    boot = "".join(f"[    {n // 1000}.{n % 1000:03d}000] usb 1-1: device number {n}\n" for n in range(9000))
    assert log_of(LAPTOP.splitlines()[0] + "\n" + boot).facts.release == "6.8.0-31-generic"


@pytest.mark.parametrize(
    ("functions", "path"),
    [
        (("alloc_pages", "some_populate", "drm_ioctl", "__x64_sys_ioctl"), CallPath.DRIVER),
        (("__alloc_pages", "dup_task_struct", "copy_process", "kernel_clone"), CallPath.FORK),
        (("shmem_get_folio_gfp", "shmem_fault", "handle_mm_fault"), CallPath.SHMEM),
        (("filemap_fault", "__do_fault", "handle_mm_fault"), CallPath.PAGE_CACHE),
        (("do_anonymous_page", "handle_mm_fault"), CallPath.FAULT),
        (("__kmalloc_large_node_noprof", "alloc_pipe_info"), CallPath.KERNEL),
        (("frobnicate",), CallPath.UNKNOWN),
    ],
)
def test_what_asked_for_memory(functions: tuple[str, ...], path: CallPath) -> None:
    assert call_path(functions) is path


# ---- how alike two reports are ----


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_a_report_is_like_itself(scenario: str) -> None:
    oom = oom_of(golden(scenario))
    assert same_kind(oom, oom)
    assert all(field.alike is not False for field in compare_ooms(oom, oom))


def test_what_differs_is_named() -> None:
    theirs, ours = oom_of(LAPTOP), oom_of(PHONE)
    assert not same_kind(theirs, ours)
    fields = {field.field: field.alike for field in compare_ooms(theirs, ours)}
    assert fields["order"] is False and fields["class"] is False and fields["drivers"] is False
    assert fields["constraint"] is True
    lines = likeness_lines(compare_ooms(theirs, ours))
    alike = sum(value is True for value in fields.values())
    told = sum(value is not None for value in fields.values())
    assert lines[-1] == f"{alike} of the {told} fields that both say are alike" and alike < told


def test_another_victim_is_the_same_kind_and_another_ending_is_not() -> None:
    oom = oom_of(SERVER_4_15)
    other = oom_of(SERVER_4_15.replace("java", "hog"))
    assert oom.classes != other.classes and same_kind(oom, other)
    panicked = oom_of(golden("panic-on-oom-on-7.3"))
    assert not same_kind(replace(oom, classes=panicked.classes), panicked)


def test_what_one_does_not_say_counts_neither_way() -> None:
    head = "\n".join(LAPTOP.splitlines()[4:12])
    fields = {field.field: field.alike for field in compare_ooms(oom_of(LAPTOP), oom_of(head))}
    assert fields["swap free"] is None and fields["slab"] is None and fields["gfp mask"] is True


# ---- the suites ----


def test_splats_lead_to_suites_that_there_are() -> None:
    sets = [one for subject in registry().subjects.values() for one in subject.splats]
    assert {name for one in sets for name in one.suites} >= {"pressure", "xe-fake", "oom"}
    for one in sets:
        assert all(suite_named(name) for name in one.suites)


def test_the_suite_runs_its_own_runner_on_the_sources_of_another() -> None:
    suite, base = suite_named("oom"), suite_named("pressure")
    assert suite.runner is not None and suite.runner.parent == suite.folder
    assert (suite.script, suite.needs_module) == ("suite-oom", base.needs_module)
    assert not suite.quick and {knob.name for knob in suite.knobs}.isdisjoint({"caching", "dma"})
