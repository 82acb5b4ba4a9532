# SPDX-License-Identifier: GPL-2.0-only
"""A scenario -> the text of its plan file, and for people; two reports of the OOM killer side by side."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterable, Iterator, Sequence

from harness.model.scenario import ChosenKey, Likeness, Scenario
from harness.reports.columns import columns

_WIDTH = 110
_NUMBERS = ("watermark_scale",)  # keys of [machine] that are no words


def plan_text(scenario: Scenario, source: ChosenKey | None = None) -> str:
    """TOML as harness/plans/README.md has it; every choice is explained by the comment before it."""
    lines = [
        *_comment(f"Made of the report in lines {scenario.span.first} to {scenario.span.last} of a log by"),
        "# ttm-harness repro --from-dmesg. Sizes are of this guest; the comments have those of the report.",
        *_comment(scenario.sentence),
        *(line for note in scenario.notes for line in _comment(f"not alike: {note}")),
        f"title = {_string(scenario.title)}",
    ]
    if source is not None:
        lines += [*_comment(source.why), f"source = {_string(source.value)}"]
    lines.append(f"suites = [{', '.join(map(_string, scenario.suites))}]")
    lines += _table("machine", scenario.machine)
    lines += _table("knobs", scenario.knobs)
    return "\n".join((*lines, ""))


def _table(name: str, choices: Sequence[ChosenKey]) -> Iterator[str]:
    if not choices:
        return
    yield ""
    yield f"[{name}]"
    for choice in (one for one in choices if one.key != "cmdline"):
        yield from _comment(choice.why)
        number = name == "machine" and choice.key in _NUMBERS
        yield f"{choice.key} = {choice.value if number else _string(choice.value)}"
    words = [one for one in choices if one.key == "cmdline"]
    if words:
        for one in words:
            yield from _comment(one.why)
        yield f"cmdline = [{', '.join(_string(one.value) for one in words)}]"


def _comment(text: str) -> Iterator[str]:
    plain = " ".join("".join(letter if letter.isprintable() else "?" for letter in text).split())
    for line in textwrap.wrap(plain, _WIDTH) or [""]:
        yield f"# {line}".rstrip()


def _string(text: str) -> str:
    """A basic string of TOML: JSON's escapes are TOML's, too."""
    return json.dumps("".join(letter if letter.isprintable() else "?" for letter in text), ensure_ascii=False)


def likeness_lines(fields: Iterable[Likeness]) -> list[str]:
    """A row for each field, and how many of those that both say are alike."""
    fields = tuple(fields)
    table = [["field", "the report", "the run", "alike", "by"]]
    words = {True: "yes", False: "no", None: "-"}
    table += [[one.field, one.theirs, one.ours, words[one.alike], one.rule] for one in fields]
    told = [one for one in fields if one.alike is not None]
    alike = sum(one.alike is True for one in told)
    return [*columns(table, set()), f"{alike} of the {len(told)} fields that both say are alike"]
