# SPDX-License-Identifier: GPL-2.0-only
"""The reader of TOML: what it makes of a file, and that every mistake is told with its line."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.model.errors import UserError
from harness.model.toml import FIRST, LARGEST, NONE, Pattern, Size, Version, lines_of, parse_toml, read_toml

ANY = Pattern("")


class Form(StrEnum):
    ROUND = "round"
    FLAT = "flat"


@dataclass(frozen=True)
class Item:
    form: Form
    kind: str = field(default="", metadata={"key": "class"})
    least: int | str = 0
    size: Size = NONE
    since: Version = FIRST
    swap: bool | None = None
    share: float = 1.0


@dataclass(frozen=True)
class File:
    title: str
    words: tuple[str, ...] = ()
    item: tuple[Item, ...] = ()
    named: dict[str, Item] = field(default_factory=dict)
    one: Item | None = None
    pattern: Pattern = ANY


GOOD = """\
title = "all"
words = ["a", "b"]
pattern = "a.*"

[one]
form = "flat"

[[item]]
form = "round"
class = "x"
least = "4K"
size = "64M"
since = "7.2"
swap = true
share = 2

[named."a b"]
form = "flat"
least = 3
"""
WRONG = """\
titel = "all"
words = ["a",
         3]
pattern = "("

[one]
form = "square"
clas = "x"

[[item]]
form = "round"

[[item]]
size = "much"
since = "7"
swap = "no"
least = 1.5

[named.x]
form = "flat"
share = true
"""


def test_each_kind_of_value_is_read() -> None:
    found = parse_toml(File, GOOD, "f")
    assert (found.title, found.words, found.pattern) == ("all", ("a", "b"), "a.*")
    assert found.one == Item(Form.FLAT)
    assert found.item == (Item(Form.ROUND, "x", "4K", Size(64 << 20), Version((7, 2)), True, 2.0),)
    assert found.named == {"a b": Item(Form.FLAT, least=3)}
    assert isinstance(found.item[0].form, Form)


def test_every_mistake_is_told_with_its_line() -> None:
    with pytest.raises(UserError) as refused:
        parse_toml(File, WRONG, "f.toml")
    told = [line.strip() for line in refused.value.message.splitlines()]
    assert [line.split(": ")[0] for line in told] == [
        f"f.toml:{number}" for number in (1, 1, 2, 4, 7, 8, 13, 14, 15, 16, 17, 21)
    ]
    said = "\n".join(told)
    for words in (
        "titel: there is no such key (did you mean title?)",
        "title: is missing",
        "words[2]: 3 is not a string",
        "pattern: '(' is no regular expression",
        "one.form: 'square' is none of these (round, flat)",
        "one.clas: there is no such key (did you mean class?)",
        "item[2].form: is missing",
        "item[2].size: ",
        "item[2].since: '7' is no version",
        "item[2].swap: 'no' is neither true nor false",
        "item[2].least: 1.5 is not an integer",
        "named.x.share: True is not a number",
    ):
        assert words in said


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("title = [", "not TOML"),
        ("title = " + "[" * 5000 + "]" * 5000, "TOML"),
        ("title = 3", "3 is not a string"),
        ('title = ""\nitem = 3', "3 is not a list"),
        ('title = ""\nitem = [3]', r"item\[1\]: 3 is not a table"),
        ('title = ""\nnamed = []', r"named: \[\] is not a table"),
        ('title = ""\nnamed = {x = 1}', "named.x: 1 is not a table"),
        ('title = ""\none = "x"', "one: 'x' is not a table"),
        ("n = " + "9" * 5000, "TOML"),
    ],
)
def test_what_is_no_such_file_is_refused(text: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        parse_toml(File, text, "f")


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there cannot be read: No such file"):
        read_toml(File, tmp_path / "there")
    (tmp_path / "f").write_bytes(b'title = "\xff"')
    with pytest.raises(UserError, match="not UTF-8 text"):
        read_toml(File, tmp_path / "f")
    with (tmp_path / "f").open("wb") as file:
        file.truncate(LARGEST + 1)
    with pytest.raises(UserError, match="larger than any such file"):
        read_toml(File, tmp_path / "f")


def test_lines_of_tables_and_keys() -> None:
    lines = lines_of(GOOD)
    assert lines[("title",)] == 1
    assert lines[("one",)] == 5
    assert lines[("item", 0, "class")] == 10
    assert lines[("named", "a b", "least")] == 19


@given(st.text(max_size=300))
def test_no_text_is_too_odd(text: str) -> None:
    lines_of(text)
    try:
        parse_toml(File, text, "f")
    except UserError as error:
        assert "f" in error.message
