# SPDX-License-Identifier: GPL-2.0-only
"""The subject line of a mail: `[PATCH v8 2/6] drm/ttm: …`, as git, lore, patchwork and people write it. Pure.

Lists put their name in front (`[Intel-gfx] [PATCH …]`), people add brackets, commas and dashes of their own. What is
no word of a prefix stays in the title.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

# A word and a colon (there is a full-width one) that make the mail an answer, or a forwarded one, before any bracket.
_REPLY = re.compile(
    r"\s*(?:re|aw|sv|antw|antwort|odp|ynt|fwd?|回复|答复|回覆|答覆|转发|轉寄)"
    r"(?:\s?\[\d{1,3}\]|\^\d{1,3}|\*\d{1,3})?\s?[:：]\s*",
    re.IGNORECASE,
)
# In languages that are not listed: two or three letters, a colon and at once a patch's bracket.
_REPLY_TO_PATCH = re.compile(r"\s*\w{2,3}\s?[:：]\s*(?=\[[^\[\]]{0,80}patch)", re.IGNORECASE)
_BRACKETED = re.compile(r"\s*\[{1,8}(?P<in>[^\[\]]{0,200}(?:\[[^\[\]]{0,80}\][^\[\]]{0,200}){0,3})\]{1,8}")
_NUMBERS_BEHIND = re.compile(r"\s{0,4}(?P<in>(?:v\d{1,4}|\d{1,6}/\d{1,6})(?:\s{1,4}\d{1,6}/\d{1,6})?)\s{0,4}\]", re.I)
_WORD = re.compile(r"[^\s,;|\[\]]+")
_WHAT = r"(?:patch(?:es|set)?|rfc|rft|resend|resent|repost|wip)"
_VERSION = re.compile(
    rf"-?(?:{_WHAT}[-_/:]?)*v(?:er(?:sion)?)?[-.]?(\d{{1,4}})(?:\.(\d{{1,3}}))?[.:]?", re.IGNORECASE
)
_COUNT = re.compile(rf"(?:{_WHAT}[-_:]?)?(\d{{1,6}})/(\d{{1,6}})[.:]?", re.IGNORECASE)
_BETWEEN = re.compile(r"(\d{1,6})\.(\d)/(\d{1,6})")
# A robot's report of a commit: [tree:branch 7/7]
_REPORT = re.compile(r"\s{0,4}[\w.+/-]{1,80}:[\w.+/-]{1,80}\s{1,4}\d{1,6}/\d{1,6}\s{0,4}$")
_COUNT_VERSION = re.compile(r"(\d{1,6}/\d{1,6})(v\d{1,4})", re.IGNORECASE)
_KNOWN = re.compile(rf"-?{_WHAT}(?![a-z]).*|rebased?|reposted|draft|poc", re.IGNORECASE)
_RESEND = re.compile(r"re-?(?:send|sent|post|posted)", re.IGNORECASE)
# Words in brackets of their own behind [PATCH] that name a tree; others ([media]) belong to the title.
_TREE = re.compile(
    r"-?(?:[\w.+]+-)*(?:next|fixes|stable|linus)(?:-[\w.+]+)*|for-[\w.+-]+|v?\d+\.\d+(?:\.\d+|\.y|-stable|-rc\d+)?"
    r"|net|bpf|mm|tip",
    re.IGNORECASE,
)
# Kernels that people backport to; v6.1 with no v6 beside it is one, v6.2 is a revision with a point.
_LONG_TERM = frozenset({(3, 2), (3, 4), (4, 1), (4, 4), (4, 9), (5, 4), (6, 1), (6, 6)})


@dataclass(frozen=True, slots=True)
class Tag:
    """What the brackets say. `position` and `total` are 0 where there is no k/n; `patch` when it is one at all.

    `point` is the 2 of v6.2, `between` the 5 of 0.5/5: a patch that was put in later. `lists` are brackets before the
    patch's own: mostly the name of the list.
    """

    title: str
    patch: bool = False
    reply: bool = False
    rfc: bool = False
    revision: int = 1
    position: int = 0
    total: int = 0
    others: tuple[str, ...] = ()  # words in the brackets that are none of these, often the name of a tree
    point: int = 0
    resend: bool = False
    lists: tuple[str, ...] = ()
    between: int = 0

    @property
    def numbered(self) -> bool:
        return self.total > 0

    @property
    def cover(self) -> bool:
        return self.numbered and self.position == 0 and not self.between


@dataclass(slots=True)
class _Words:
    """What was read of the brackets so far."""

    patch: bool = False
    rfc: bool = False
    resend: bool = False
    version: tuple[int, int] | None = None
    count: tuple[int, int] = (0, 0)
    between: int = 0
    others: tuple[str, ...] = ()

    def take(self, text: str) -> bool:
        """One bracket; False when it has no word of a patch's prefix."""
        if _REPORT.match(text):
            return False
        odd: list[str] = []
        points: list[tuple[str, int, int]] = []
        known = False
        for word in _WORD.findall(_COUNT_VERSION.sub(r"\1 \2", text)):
            version, count = _VERSION.fullmatch(word), _COUNT.fullmatch(word)
            if version and version[2] is not None:
                points.append((word, int(version[1]), int(version[2])))
            elif version:
                self.version = int(version[1]), 0
            elif count:
                self.count = int(count[1]), int(count[2])
            elif between := _BETWEEN.fullmatch(word):
                self.count, self.between = (int(between[1]), int(between[3])), int(between[2])
            elif not _KNOWN.fullmatch(word):
                odd.append(word)
                continue
            known = known or not (version and version[2] is not None) or _names_patch(word)
            low = word.lower()
            self.rfc = self.rfc or "rfc" in low
            self.resend = self.resend or _RESEND.search(low) is not None
        for word, major, minor in points:
            # Beside a plain vN, and where a kernel is called so, it names the tree.
            if self.version is not None or minor > 9 or (major, minor) in _LONG_TERM:
                odd.append(word)
            else:
                self.version, known = (major, minor), True
        if known:
            self.patch = True
            self.others = (*self.others, *odd)
        return known

    def names_tree(self, text: str) -> bool:
        """A bracket behind the patch's own that names a tree, and nothing else."""
        words = _WORD.findall(text)
        if not self.patch or not words or not all(map(_TREE.fullmatch, words)):
            return False
        self.others = (*self.others, *words)
        return True


def _names_patch(word: str) -> bool:
    return word.lower().lstrip("-").startswith(("patch", "rfc", "resend", "rft", "wip"))


def read_subject(subject: str) -> Tag:
    """Never fails: what is no prefix is title."""
    rest = " ".join(subject.split())
    words = _Words()
    reply = False
    before: list[str] = []
    title = ""  # what is left when no bracket is a patch's
    while rest:
        answer = _REPLY.match(rest) or (_REPLY_TO_PATCH.match(rest) if not words.patch else None)
        if answer and not words.patch:
            reply, rest = True, rest[answer.end() :]
            title = "" if before == [] else title
            continue
        match = _BRACKETED.match(rest)
        if match is None:
            break
        end = match.end()
        text = match["in"]
        if behind := _NUMBERS_BEHIND.match(rest, end):
            text, end = f"{text} {behind['in']}", behind.end()
        if not words.take(text) and not words.names_tree(text):
            if words.patch:
                break
            title = title or rest
            before.append(text.strip())
        rest = rest[end:]
    if not words.patch:
        return Tag((title or rest).strip(), reply=reply)
    revision, point = words.version or (1, 0)
    position, total = words.count
    return Tag(
        title=rest.strip().lstrip(":").strip(),
        patch=True,
        reply=reply,
        rfc=words.rfc,
        revision=revision,
        position=position,
        total=total,
        others=words.others,
        point=point,
        resend=words.resend,
        lists=tuple(before),
        between=words.between if total else 0,
    )
