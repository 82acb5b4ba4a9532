# SPDX-License-Identifier: GPL-2.0-only
"""What is said of a memory image: walks that end whatever memory holds, what subjects read in it, the text."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, cast

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

import harness.reports
from harness.memory.parts import Readers
from harness.memory.walk import ring
from harness.model.codec import from_json, to_json
from harness.model.errors import StoreCorrupt
from harness.model.memory import SCHEMA, KernelTask, Line, Memory, Part, Section, Shrinker
from harness.reports.memory import MOST_LINES, sections, short_lines, text

if TYPE_CHECKING:
    from harness.memory.kernel import KernelImage, Object

JSON_SCHEMA = json.loads((Path(harness.reports.__file__).parent / "schema" / "memory-1.json").read_text())


def circle(*addresses: int) -> dict[int, tuple[int, int]]:
    count = len(addresses)
    return {at: (addresses[(i + 1) % count], addresses[i - 1]) for i, at in enumerate(addresses)}


class TestRing:
    @pytest.mark.parametrize("nodes", [(), (2,), (2, 3, 4)])
    def test_a_whole_list(self, nodes: tuple[int, ...]) -> None:
        found = ring(1, circle(1, *nodes).__getitem__)
        assert (found.nodes, found.problem) == (nodes, "")

    def test_a_head_that_was_never_made_a_list(self) -> None:
        assert ring(1, {1: (0, 0)}.__getitem__) == ring(1, circle(1).__getitem__)

    def test_a_list_that_goes_round_without_its_head(self) -> None:
        nodes = {**circle(1, 2, 3, 4), 4: (2, 3), 2: (3, 4)}
        nodes[2] = (3, 1)
        found = ring(1, nodes.__getitem__)
        assert found.nodes == (2, 3, 4)
        assert found.problem == "the list is torn behind 0x4: 0x2 does not point back"

    def test_one_to_nowhere(self) -> None:
        nodes = circle(1, 2, 3)
        nodes[2] = (0xDEAD, 1)
        found = ring(1, nodes.__getitem__)
        assert (found.nodes, found.problem) == ((2,), "the list leads from 0x2 to nowhere")

    def test_one_that_is_longer_than_any(self) -> None:
        found = ring(0, lambda at: (at + 1, at - 1) if at else (1, -1), most=100)
        assert len(found.nodes) == 100
        assert found.problem == "the list is longer than 100; the rest was not read"

    @given(st.dictionaries(st.integers(0, 8), st.tuples(st.integers(0, 8), st.integers(0, 8))))
    def test_every_walk_ends(self, nodes: dict[int, tuple[int, int]]) -> None:
        found = ring(0, nodes.__getitem__)
        assert len(found.nodes) == len(set(found.nodes)) <= 8


PART = Part(
    (
        Section("queues", (Line("queue 1", below=(Line("entry 5", "it is of queue 2"), Line("entry 6"))),)),
        Section("empty", ()),
        Section("locks", (Line("queue 1: locked by sh (pid 9)"),)),
    ),
    (Line("1 queue", below=(Line("entry 5", "it is of queue 2"),)),),
)
MEMORY = Memory(
    schema=SCHEMA,
    release="7.3.4",
    shrinkers=(Shrinker("mine", "my_count", 7, (("pages", 12),)), Shrinker("sb", "super", 0)),
    tasks=(
        KernelTask(1, "init", "S", 0),
        KernelTask(3, "x", "D", 1, ("schedule+0x1",), "for the mutex 0x77, held by sh (pid 9)"),
        KernelTask(9, "sh", "on CPU", 0, ("panic+0x1",)),
    ),
    parts={"mine": PART},
    problems=("tasks: the list is torn",),
)


def test_the_short_form() -> None:
    assert short_lines(MEMORY) == (
        "1 queue",
        "  entry 5  WRONG: it is of queue 2",
        "2 shrinkers; mine: 7 deferred, pages 12",
        "x (pid 3), D, waits for the mutex 0x77, held by sh (pid 9)",
        "tasks: the list is torn",
    )


def test_all_of_it() -> None:
    assert text(MEMORY).splitlines() == [
        "queues:",
        "  queue 1",
        "    entry 5  WRONG: it is of queue 2",
        "    entry 6",
        "shrinkers:",
        "  mine: 7 deferred, pages 12  (my_count)",
        "  sb: 0 deferred  (super)",
        "locks:",
        "  queue 1: locked by sh (pid 9)",
        "  x (pid 3), D, waits for the mutex 0x77, held by sh (pid 9)",
        "tasks:",
        "  x (pid 3), D, waits for the mutex 0x77, held by sh (pid 9)",
        "    schedule+0x1",
        "  sh (pid 9), on CPU, CPU 0",
        "    panic+0x1",
        "  3 tasks in all",
        "problems:",
        "  tasks: the list is torn",
    ]


def test_only_what_is_asked_for() -> None:
    assert text(MEMORY, ("queues",)).splitlines()[::3] == ["queues:", "    entry 6"]
    assert list(sections(MEMORY)) == ["queues", "empty", "shrinkers", "locks", "tasks", "problems"]


def test_two_subjects_with_sections_of_one_name() -> None:
    memory = replace(MEMORY, parts={"mine": PART, "yours": Part((Section("queues", (Line("queue 7"),)),))})
    assert sections(memory)["queues"] == ("queue 1", "  entry 5  WRONG: it is of queue 2", "  entry 6", "queue 7")


def test_what_has_thousands_of_lines_is_cut() -> None:
    part = Part((Section("queues", (Line("queue 1", below=(Line("entry"),) * 5000),)),))
    said = text(replace(MEMORY, parts={"mine": part}), ("queues",)).splitlines()
    assert len(said) == MOST_LINES + 3
    assert said[-1] == f"    and {5000 - MOST_LINES} more"


def test_it_comes_back_from_json() -> None:
    said = to_json(MEMORY)
    assert from_json(Memory, said, "a test") == MEMORY
    jsonschema.validate(json.loads(said), JSON_SCHEMA)


@pytest.mark.parametrize("line", ["{}", '{"text": "x", "wrong": "", "below": [{"no": "text"}]}', '"x"'])
def test_what_is_no_line_is_refused(line: str) -> None:
    plain = json.loads(to_json(MEMORY))
    plain["parts"]["mine"]["short"] = [json.loads(line)]
    with pytest.raises(StoreCorrupt, match="a test is not the JSON of a Memory"):
        from_json(Memory, json.dumps(plain), "a test")
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(plain, JSON_SCHEMA)


class TestReaders:
    """Code of a subject's, found by its path."""

    KERNEL = cast("KernelImage", "a kernel")
    PART = "from harness.model.memory import Line, Part\ndef part(kernel): return Part((), (Line(str(kernel)),))\n"

    @staticmethod
    def path(place: Path, text: str) -> str:
        place.write_text(text)
        return str(place)

    def test_a_file(self, tmp_path: Path) -> None:
        found = Readers([("mine", self.path(tmp_path / "any.py", self.PART))])
        assert found.parts(self.KERNEL) == {"mine": Part((), (Line("a kernel"),))}
        assert list(found.modules) == ["mine"]
        assert found.problems == []

    def test_a_package(self, tmp_path: Path) -> None:
        self.path(tmp_path / "inner.py", self.PART)
        found = Readers([("mine", self.path(tmp_path / "__init__.py", "from .inner import part as part\n"))])
        assert found.parts(self.KERNEL) == {"mine": Part((), (Line("a kernel"),))}

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("def part(", "SyntaxError: "),
            ("import nothing_of_this_name", "ModuleNotFoundError: "),
            ("x = 1", "has neither part() nor SHRINKERS"),
            ("def part(kernel): return 1", "TypeError: part() gave int and not a Part"),
            ("def part(kernel): return kernel.what", "AttributeError: "),
            ("def part(kernel): raise ValueError('a\\nb\\x1b')", "ValueError: a"),
        ],
    )
    def test_what_fails_is_said_and_costs_the_others_nothing(self, tmp_path: Path, text: str, said: str) -> None:
        paths = [("bad", self.path(tmp_path / "bad.py", text)), ("good", self.path(tmp_path / "good.py", self.PART))]
        found = Readers(paths, ["known"])
        assert list(found.parts(self.KERNEL)) == ["good"]
        first, second = found.problems
        assert first == "known"
        assert second.startswith("what reads the part of bad failed: ")
        assert said in second
        assert second.isprintable()

    def test_two_of_one_name(self, tmp_path: Path) -> None:
        path = self.path(tmp_path / "any.py", self.PART)
        found = Readers([("mine", path), ("mine", f"{path}.other")])
        assert found.problems == [f"there are two subjects of the name mine: {path}.other was not asked"]

    def test_what_shrinkers_count_from(self, tmp_path: Path) -> None:
        text = "SHRINKERS = {'a': lambda kernel, one: [('pages', len(one))], 'b': lambda kernel, one: one.what}\n"
        found = Readers([("mine", self.path(tmp_path / "any.py", text))])
        counts = found.counts()
        shrinker = cast("Object", "four")
        assert found.parts(self.KERNEL) == {}
        assert tuple(counts["a"](self.KERNEL, shrinker)) == (("pages", 4),)
        assert tuple(counts["b"](self.KERNEL, shrinker)) == ()
        assert len(found.problems) == 1


def test_drgn_is_where_only_the_reader_needs_it() -> None:
    """The harness itself works without: no other room imports what imports it."""
    code = "import sys, harness.flow.inspect, harness.cli.inspect, harness.flow.live; sys.exit('drgn' in sys.modules)"
    assert subprocess.run((sys.executable, "-c", code), check=False).returncode == 0
