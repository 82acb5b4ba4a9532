# SPDX-License-Identifier: GPL-2.0-only
"""The order of Debian package versions (deb-version(7)), without a process for each comparison."""

from __future__ import annotations

import re
from itertools import zip_longest

_PARTS = re.compile(r"(\D*)(\d*)")


def _place(character: str) -> int:
    """`~` sorts before the end of a word (0), letters after it and before everything else."""
    if character == "~":
        return -1
    return ord(character) if character.isalpha() else ord(character) + 256


def _compare_words(one: str, other: str) -> int:
    for left, right in zip_longest(map(_place, one), map(_place, other), fillvalue=0):
        if left != right:
            return -1 if left < right else 1
    return 0


def _compare_parts(one: str, other: str) -> int:
    pairs = zip_longest(_PARTS.findall(one), _PARTS.findall(other), fillvalue=("", ""))
    for (word, number), (other_word, other_number) in pairs:
        order = _compare_words(word, other_word)
        if order:
            return order
        difference = int(number or 0) - int(other_number or 0)
        if difference:
            return -1 if difference < 0 else 1
    return 0


def _split(version: str) -> tuple[str, str, str]:
    epoch, colon, rest = version.partition(":")
    if not colon:
        epoch, rest = "", version
    upstream, _, revision = rest.rpartition("-") if "-" in rest else (rest, "", "")
    return epoch, upstream, revision


def compare_versions(one: str, other: str) -> int:
    """-1, 0 or 1, as `dpkg --compare-versions` would have it."""
    for part, other_part in zip(_split(one), _split(other), strict=True):
        order = _compare_parts(part, other_part)
        if order:
            return order
    return 0


def upstream_version(version: str) -> str:
    """`7.3.4` of `7.3.4-1~bpo13+1`; what Debian appends to the upstream part stays."""
    return _split(version)[1]
