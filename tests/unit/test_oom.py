# SPDX-License-Identifier: GPL-2.0-only
"""OOM reports: real ones of two kernels against what is expected of them, and the forms of kernels not at hand.

`python -m tests.unit.test_oom --update` writes expected.json anew; read the difference before it is kept.
What is marked synthetic is made up after the format of older kernels; no kernel printed it.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pytest

from harness.evidence.lines import decode
from harness.evidence.oom import find_ooms
from harness.evidence.oom_class import judge_oom, read_ooms
from harness.evidence.splats import find_events
from harness.model.codec import from_json, to_json, to_plain
from harness.model.oom import Amount, Oom, OomClass, OomEnding, OomReport
from harness.model.units import KIB, MIB

GOLDEN = Path(__file__).parent.parent / "data" / "kmsg"
SCENARIOS = sorted(path.name for path in GOLDEN.iterdir() if path.is_dir())


def golden(scenario: str) -> bytes:
    return (GOLDEN / scenario / "input.log").read_bytes()


def ooms(scenario: str) -> tuple[Oom, ...]:
    return read_ooms(decode(golden(scenario)))


def plain(scenario: str) -> object:
    lines = decode(golden(scenario))
    events = [[e.kind, e.title, e.fingerprint, e.span.first, e.span.last, e.task] for e in find_events(lines)]
    return json.loads(json.dumps({"events": events, "ooms": [to_plain(oom) for oom in read_ooms(lines)]}))


def report(*texts: str) -> OomReport:
    (one,) = find_ooms(decode("\n".join((*texts, "")).encode()))
    return one


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_real_reports(scenario: str) -> None:
    assert plain(scenario) == json.loads((GOLDEN / scenario / "expected.json").read_text())


def test_there_are_enough_and_they_say_where_they_come_from() -> None:
    assert len(SCENARIOS) >= 10
    for scenario in SCENARIOS:
        assert (GOLDEN / scenario / "PROVENANCE").read_text().startswith("A real capture")
        assert (GOLDEN / scenario / "input.log").stat().st_size < 120_000


# What each scenario was made for. The golden file could be written anew over a mistake; this could not.
MEANT = {
    "global-oom-kills-the-hog-on-7.3": ["hog expected-victim"],
    "global-oom-with-all-swap-used-on-6.12": ["hog expected-victim"],
    "locked-memory-leaves-swap-free-on-7.3": ["hog expected-victim swap-to-spare"],
    "kernel-memory-kills-a-bystander-with-swap-free-on-6.12": [
        "bystander wrong-victim swap-to-spare",
        "pipehog wrong-victim swap-to-spare",
    ],
    "order-2-kills-a-bystander-on-7.3": ["bystander wrong-victim high-order", "pipehog wrong-victim"],
    "memory-cgroup-at-its-limit-on-7.3": ["hog expected-victim memcg"],
    "nested-cgroup-killed-as-a-group-on-6.12": ["hog expected-victim memcg"],
    "no-killable-process-panics-on-7.3": ["nobody no-killable-process panic swap-to-spare"],
    "no-killable-process-in-a-cgroup-on-7.3": ["nobody no-killable-process memcg"] * 4,
    "panic-on-oom-on-7.3": ["nobody panic"],
    "sysrq-f-on-7.3": ["hog expected-victim manual"],
    "sysrq-f-with-nobody-to-kill-on-6.12": ["nobody no-killable-process manual"],
    "three-ooms-in-a-flood-of-two-writers-on-7.3": [f"hog{n} wrong-victim" for n in (1, 2, 3)],
    "gpu-objects-held-without-swap-on-7.3": ["hog expected-victim shrinkable-left"],
    "gpu-objects-gone-to-swap-on-7.3": ["hog expected-victim swap-to-spare"],
    "the-allocating-task-is-killed-on-7.3": ["hog expected-victim"],
    "shared-memory-on-6.12": ["hog expected-victim"],
    "dmesg-printed-into-the-console-on-6.12": ["hog expected-victim"],
    "cut-in-the-middle-on-7.3": ["nobody"],
    "head-cut-off-on-7.3": ["hog expected-victim"],
    "objects-and-a-locked-hog-leave-swap-free-on-6.12": ["hog expected-victim swap-to-spare"],
}


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_what_a_scenario_was_made_for(scenario: str) -> None:
    def told(oom: Oom) -> str:
        victim = oom.report.victim
        return " ".join((victim.comm if victim else "nobody", *oom.classes))

    assert [told(oom) for oom in ooms(scenario)] == MEANT[scenario]


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_json_round_trip(scenario: str) -> None:
    for oom in ooms(scenario):
        assert from_json(Oom, to_json(oom)) == oom


@pytest.mark.parametrize("scenario", [s for s in SCENARIOS if "cut" not in s])
def test_a_whole_report_joins_its_event(scenario: str) -> None:
    events = {event.span.first for event in find_events(decode(golden(scenario))) if event.kind == "oom"}
    for oom in ooms(scenario):
        assert oom.report.complete
        assert oom.report.span.first in events


def test_every_block_is_read() -> None:
    (oom,) = ooms("global-oom-kills-the-hog-on-7.3")
    got = oom.report
    assert (got.invoker.comm, got.invoker.pid, got.invoker.order) == ("hog", 47, 0)
    assert got.invoker.gfp_mask == 0x140DCA
    assert got.invoker.gfp_flags == ("GFP_HIGHUSER_MOVABLE", "__GFP_ZERO", "__GFP_COMP")
    assert (got.release, got.constraint.kind, got.constraint.nodemask) == ("7.3.4", "NONE", "(null)")
    assert got.constraint.global_oom and got.constraint.task_memcg == "/"
    assert got.functions[:3] == ("oom_kill_process", "out_of_memory", "__alloc_pages_slowpath")
    totals = {amount.name: amount.size for amount in got.memory.totals}
    assert totals["inactive_anon"] // 4096 > 15000 and "free_cma" in totals
    (zone,) = got.memory.zones
    assert (zone.name, zone.node, zone.lowmem_reserve) == ("DMA32", None, (0, 0, 0))
    assert {"free", "min", "low", "high", "present", "managed"} <= {amount.name for amount in zone.amounts}
    (free,) = got.memory.free_lists
    assert free.total == sum(block.size * block.count for block in free.blocks)
    assert len(free.blocks) == 11 and free.blocks[0].size == 4 * KIB
    assert got.memory.swap_total == 0 and got.memory.ram is not None and got.memory.reserved is not None
    assert [task.comm for task in got.tasks] == ["shy", "hog"]
    hog = got.tasks[1]
    assert hog.rss_anon is not None and hog.rss == hog.rss_anon + (hog.rss_file or 0) + (hog.rss_shmem or 0)


def test_the_listing_of_slabs_is_read() -> None:
    first = ooms("kernel-memory-kills-a-bystander-with-swap-free-on-6.12")[0].report
    assert len(first.slabs) > 60
    assert all(cache.total >= cache.used for cache in first.slabs)


def test_a_cgroup_is_read() -> None:
    got = ooms("nested-cgroup-killed-as-a-group-on-6.12")[0].report
    assert got.memcg is not None and got.memcg.path == "/outer"
    assert (got.constraint.oom_memcg, got.constraint.task_memcg, got.group) == ("/outer", "/outer/inner", "/outer")
    memory = got.memcg.charge("memory")
    assert memory is not None and memory.limit == 24 * MIB
    stat = {amount.name: amount.size for amount in got.memcg.stat}
    assert stat["anon"] == 24854528 and len(stat) > 50
    assert [kill.comm for kill in got.kills] == ["hog", "neighbour"]


def test_gpu_pages_are_counted_as_shrinkable() -> None:
    (oom,) = ooms("gpu-objects-held-without-swap-on-7.3")
    assert oom.shrinkable == oom.report.memory.on_nodes("gpu_active") == 78848 * KIB
    assert oom.sentence == "OOM with no swap and 77 MiB of shrinkable objects: hog (pid 53) was killed (RSS 56 MiB)"


# ---- what the caller knows ----

SIX = "global-oom-with-all-swap-used-on-6.12"


def test_the_caller_says_who_is_meant_to_be_killed() -> None:
    (oom,) = ooms(SIX)
    assert OomClass.WRONG_VICTIM in judge_oom(oom.report, ("other",)).classes
    assert OomClass.EXPECTED_VICTIM in judge_oom(oom.report, ("other", "h*g")).classes


def test_the_caller_says_what_was_shrinkable_where_the_kernel_does_not() -> None:
    (oom,) = ooms(SIX)
    assert oom.shrinkable is None and OomClass.SHRINKABLE_LEFT not in oom.classes
    told = judge_oom(oom.report, shrinkable=20 * MIB)
    assert OomClass.SHRINKABLE_LEFT in told.classes
    assert "and 20 MiB of shrinkable objects: hog" in told.sentence
    (newer,) = ooms("global-oom-kills-the-hog-on-7.3")
    assert judge_oom(newer.report, shrinkable=20 * MIB).shrinkable == 0  # the kernel knows better


# ---- synthetic: formats of older kernels, and of machines with more nodes ----

OLD = (  # synthetic, after 4.19
    "my app invoked oom-killer: gfp_mask=0x6200ca(GFP_HIGHUSER_MOVABLE), nodemask=0,2-3, order=0, oom_score_adj=-5",
    "my app cpuset=/ mems_allowed=0-3",
    "CPU: 3 PID: 812 Comm: my app Tainted: G        W  OE     4.19.0-1-amd64 #1 Debian",
    "Call Trace:",
    " dump_stack+0x66/0x81",
    " dump_header+0x6b/0x283",
    " ? guess+0x1/0x2",
    " oom_kill_process.cold.30+0xb/0x1cf",
    " out_of_memory+0x1a5/0x450",
    "Task in /a/b killed as a result of limit of /a",
    "memory: usage 10240kB, limit 10240kB, failcnt 31",
    "memory+swap: usage 10240kB, limit 9007199254740988kB, failcnt 0",
    "kmem: usage 100kB, limit 9007199254740988kB, failcnt 0",
    "Memory cgroup stats for /a: cache:0KB rss:0KB rss_huge:0KB",
    "Memory cgroup stats for /a/b: cache:12KB rss:10004KB",
    "Tasks state (memory values in pages):",
    "[  pid  ]   uid  tgid total_vm      rss pgtables_bytes swapents oom_score_adj name",
    "[    812]  1000   812     5000     2501    65536       10            -5 my app",
    "[    813]  1000   813       50       25     4096        0             0 7 zip 3",
    "Memory cgroup out of memory: Kill process 812 (my app) score 977 or sacrifice child",
    "Killed process 812 (my app) total-vm:20000kB, anon-rss:10000kB, file-rss:4kB, shmem-rss:0kB",
    "oom_reaper: reaped process 812 (my app), now anon-rss:0kB, file-rss:0kB, shmem-rss:0kB",
)


def test_synthetic_a_report_of_4_19() -> None:
    got = report(*OLD)
    assert got.complete and got.ending is OomEnding.KILLED and (got.span.first, got.span.last) == (1, 21)
    assert (got.invoker.comm, got.invoker.cpu, got.invoker.pid, got.invoker.oom_score_adj) == ("my app", 3, 812, -5)
    assert got.release == "4.19.0-1-amd64"
    assert got.functions == ("dump_stack", "oom_kill_process", "out_of_memory")
    constraint = got.constraint
    assert (constraint.kind, constraint.oom_memcg, constraint.task_memcg) == ("MEMCG", "/a", "/a/b")
    assert (constraint.nodemask, constraint.cpuset, constraint.mems_allowed) == ("0,2-3", "/", "0-3")
    assert got.memcg is not None and got.memcg.path == "/a"
    assert [charge.limit for charge in got.memcg.charges] == [10240 * KIB, None, None]
    assert got.memcg.stat[0] == Amount("cache", 0)
    assert [(task.comm, task.rss, task.swap) for task in got.tasks] == [
        ("my app", 2501 * 4096, 40960),
        ("7 zip 3", 25 * 4096, 0),
    ]
    assert got.tasks[0].rss_anon is None and got.tasks[0].pgtables == 65536
    (kill,) = got.kills
    assert (kill.why, kill.score, kill.rss) == ("Memory cgroup out of memory", 977, 10004 * KIB)
    (reaped,) = got.reaped
    assert reaped.able and reaped.line == 22


def test_synthetic_two_nodes_of_5_10() -> None:
    got = report(
        "kworker/u8:1 invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=3, oom_score_adj=0",
        "CPU: 1 PID: 33 Comm: kworker/u8:1 Not tainted 5.10.200 #1",
        "Mem-Info:",
        "active_anon:10 inactive_anon:20 isolated_anon:0",
        " active_file:1 inactive_file:2 isolated_file:0",
        " free:25 free_pcp:3 free_cma:0",
        "Node 0 active_anon:40kB inactive_anon:80kB pagetables:4kB all_unreclaimable? no",
        "Node 1 active_anon:0kB inactive_anon:0kB pagetables:8kB all_unreclaimable? yes",
        "Node 0 DMA free:15kB min:1kB low:2kB high:3kB present:15992kB managed:15908kB pages_scanned:7",
        "lowmem_reserve[]: 0 2900 7800 7800",
        "Node 1 Normal free:85kB min:1kB low:2kB high:3kB present:4096kB managed:4000kB",
        "lowmem_reserve[]: 0 0 0 0",
        "Node 0 DMA: 1*64kB (U) 0*128kB 1*256kB (UME) = 320kB",
        "Node 1 Normal: 0*64kB 0*128kB 0*256kB = 0kB",
        "Node 0 hugepages_total=4 hugepages_free=1 hugepages_surp=0 hugepages_size=2048kB",
        "123 total pagecache pages",
        "7 pages in swap cache",
        "Swap cache stats: add 1, delete 2, find 3/4",
        "Free swap  = 102400kB",
        "Total swap = 204800kB",
        "1000 pages RAM",
        "0 pages HighMem/MovableOnly",
        "50 pages reserved",
        "20 pages cma reserved",
        "0 pages hwpoisoned",
        "oom-kill:constraint=CONSTRAINT_CPUSET,nodemask=0,2-3,cpuset=my,cpus,mems_allowed=0-1,global_oom,"
        "task_memcg=/user.slice/a,b,task=odd, name,pid=12,uid=1000",
        "Out of memory: Killed process 12 (odd, name) total-vm:8kB, anon-rss:4kB, file-rss:0kB, shmem-rss:0kB, "
        "UID:1000 pgtables:44kB oom_score_adj:1000",
    )
    assert got.page_size == 64 * KIB  # the smallest block says so
    memory = got.memory
    assert memory.totals[0] == Amount("active_anon", 10 * 64 * KIB)
    assert [node.all_unreclaimable for node in memory.nodes] == [False, True]
    assert memory.on_nodes("pagetables") == 12 * KIB and memory.on_nodes("gpu_active") is None
    assert [(zone.node, zone.name, zone.lowmem_reserve[1]) for zone in memory.zones] == [
        (0, "DMA", 2900),
        (1, "Normal", 0),
    ]
    assert memory.free_lists[0].blocks[2].types == "UME"
    assert (memory.huge_pages[0].free, memory.huge_pages[0].size) == (1, 2 * MIB)
    assert (memory.ram, memory.cma_reserved, memory.swap_free) == (1000 * 64 * KIB, 20 * 64 * KIB, 100 * MIB)
    constraint = got.constraint
    assert (constraint.kind, constraint.nodemask, constraint.cpuset) == ("CPUSET", "0,2-3", "my,cpus")
    assert (constraint.task_memcg, constraint.task, constraint.pid) == ("/user.slice/a,b", "odd, name", 12)
    oom = judge_oom(got, ("odd*",))
    assert set(oom.classes) == {
        OomClass.EXPECTED_VICTIM,
        OomClass.CPUSET,
        OomClass.HIGH_ORDER,
        OomClass.SWAP_TO_SPARE,
    }


@pytest.mark.parametrize("blanks", [b" ", b"    ", b"\t"])
def test_lines_of_nodes_and_zones_may_be_indented(blanks: bytes) -> None:
    log = golden("order-2-kills-a-bystander-on-7.3")
    indented = re.sub(
        rb"(?m)^(\[ *[\d.]+\] )(?=Node \d|DMA32|\d+ (?:total )?page|Free swap|Total swap)", rb"\1" + blanks, log
    )
    assert indented.count(b"] " + blanks + b"DMA32") == 2 * log.count(b"] DMA32:")
    assert read_ooms(decode(indented)) == read_ooms(decode(log))


KILL = "Out of memory: Killed process 12 (hog) total-vm:8kB, anon-rss:4kB, file-rss:0kB, shmem-rss:0kB"
HEAD = "hog invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0, oom_score_adj=0"


def found(*texts: str) -> list[tuple[bool, str]]:
    lines = decode("\n".join((*texts, "")).encode())
    return [(one.complete, str(one.ending)) for one in find_ooms(lines)]


def test_a_kill_whose_report_was_rate_limited_is_one_that_is_not_complete() -> None:
    assert found(KILL, "prose", KILL.replace("12", "13")) == [(False, "killed")] * 2


def test_a_report_that_another_one_cuts_off() -> None:
    assert found(HEAD, "Mem-Info:", HEAD, KILL) == [(False, "unknown"), (True, "killed")]


def test_a_panic_of_something_else_ends_a_report() -> None:
    assert found(HEAD, "Mem-Info:", "Kernel panic - not syncing: hard LOCKUP", KILL) == [
        (False, "unknown"),
        (False, "killed"),
    ]


def test_a_victim_that_is_already_exiting() -> None:
    line = "Out of memory: OOM victim 12 (hog) is already exiting. Skip killing the task"
    assert found(HEAD, line) == [(True, "exiting")]


def test_a_failed_allocation_is_no_oom() -> None:
    shown = ("Mem-Info:", "active_anon:1 inactive_anon:2 isolated_anon:0", "5 pages RAM", "0 pages reserved")
    assert found("x: page allocation failure: order:1, mode:0xcc0(GFP_KERNEL), nodemask=(null)", *shown) == []
    assert found("sysrq: Show Memory", *shown) == []
    assert found(*shown) == []


@pytest.mark.parametrize(
    "text",
    [
        "Killed process 12 (hog) by hand",
        "nobody invoked oom-killer",
        "the oom_reaper: sleeps",
        "Out of memory",
        "[  pid  ]   uid  tgid total_vm      rss name",
        "Free swap  = 3kB",
        "my script: Killed process 12 (hog), anon-rss:4kB",
    ],
)
def test_what_is_no_report(text: str) -> None:
    assert found("before", text, "after") == []


def test_a_reaper_that_gave_up() -> None:
    got = report(HEAD, KILL, "oom_reaper: unable to reap pid:12 (hog)")
    assert [(reaped.pid, reaped.able) for reaped in got.reaped] == [(12, False)]


def test_columns_without_their_head_are_told_by_their_number() -> None:
    split = "[     46]     0    46      567       80       14       66         0    40960        0             0 sh"
    got = report(HEAD, split, KILL)
    assert (got.tasks[0].comm, got.tasks[0].rss_file, got.tasks[0].oom_score_adj) == ("sh", 66 * 4096, 0)


def test_swap_to_spare_needs_both_limits() -> None:
    def classes(free: int, total: int) -> tuple[OomClass, ...]:
        swap = (f"Free swap  = {free}kB", f"Total swap = {total}kB")
        return judge_oom(report(HEAD, *swap, KILL)).classes

    assert OomClass.SWAP_TO_SPARE in classes(20 * 1024, 100 * 1024)
    assert OomClass.SWAP_TO_SPARE not in classes(16 * 1024, 100 * 1024)
    assert OomClass.SWAP_TO_SPARE not in classes(90 * 1024, 1000 * 1024)


def test_free_swap_may_be_negative() -> None:
    got = report(HEAD, "Free swap  = -245804kB", "Total swap = 2097148kB", KILL)
    assert (got.memory.swap_free, got.memory.swap_total) == (-245804 * KIB, 2097148 * KIB)
    assert "0 MiB swap free" in judge_oom(got).sentence


@pytest.mark.parametrize("name", ["two words", "it's", 'say "no"', "a (b)", "two\nlines", "semi;colon", "кот"])
def test_names_with_anything_in_them(name: str) -> None:
    head = HEAD.replace("hog", name) if "\n" not in name else HEAD
    kill = KILL.replace("(hog)", f"({name})")
    got = report(head, f"oom-kill:constraint=CONSTRAINT_NONE,nodemask=(null),task={name},pid=12,uid=0", kill)
    shown = name.replace("\n", " ")
    assert got.complete and got.victim is not None
    assert (got.victim.comm, got.victim.pid, got.constraint.task) == (shown, 12, shown)
    assert got.victim.anon_rss is not None


def test_the_prefix_of_a_log_is_no_part_of_a_name() -> None:
    got = report(f"somewhere 12:34 kernel: {HEAD}", KILL)
    assert got.invoker.comm == report(HEAD, KILL).invoker.comm


def _update() -> None:
    for scenario in SCENARIOS:
        text = json.dumps(plain(scenario), indent=0, ensure_ascii=False)
        (GOLDEN / scenario / "expected.json").write_text(text + "\n")


if __name__ == "__main__" and "--update" in sys.argv:
    _update()
