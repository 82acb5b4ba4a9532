# SPDX-License-Identifier: GPL-2.0-only
"""The subject line of a mail: `[PATCH v8 2/6] drm/ttm: …`, as git, lore and patchwork write it. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

_REPLY = re.compile(r"\s*(?:re|aw|sv|antw|fwd?)\s*:\s*", re.IGNORECASE)
_BRACKET = re.compile(r"\s*\[([^\[\]]{0,200})\]\s*")
_WORD = re.compile(r"[^\s,]+")
_VERSION = re.compile(r"(?:patch|rfc)?v(\d{1,4})", re.IGNORECASE)
_COUNT = re.compile(r"(\d{1,6})/(\d{1,6})")


@dataclass(frozen=True, slots=True)
class Tag:
    """What the brackets say. `position` and `total` are 0 where there is no k/n; `patch` when it is one at all."""

    title: str
    patch: bool = False
    reply: bool = False
    rfc: bool = False
    revision: int = 1
    position: int = 0
    total: int = 0
    others: tuple[str, ...] = ()  # words in the brackets that are none of these, often the name of a tree

    @property
    def numbered(self) -> bool:
        return self.total > 0

    @property
    def cover(self) -> bool:
        return self.numbered and self.position == 0


def read_subject(subject: str) -> Tag:
    """Never fails: what is no prefix is title."""
    rest = " ".join(subject.split())
    reply = False
    while match := _REPLY.match(rest):
        reply, rest = True, rest[match.end() :]
    patch = rfc = False
    revision, position, total = 1, 0, 0
    others: list[str] = []
    while match := _BRACKET.match(rest):
        words = _WORD.findall(match[1])
        known, odd = False, []
        for word in words:
            version, count = _VERSION.fullmatch(word), _COUNT.fullmatch(word)
            if version:
                revision, known = int(version[1]), True
            elif count:
                position, total, known = int(count[1]), int(count[2]), True
            low = word.lower()
            named = low in ("resend", "rebased") or low.startswith(("patch", "rfc"))
            known = known or named
            if not named and not version and not count:
                odd.append(word)
            rfc = rfc or low.startswith("rfc")
        if not known:
            break
        others += odd
        patch, rest = True, rest[match.end() :]
    return Tag(rest.strip(), patch, reply, rfc, revision, position, total, tuple(others))
