# SPDX-License-Identifier: GPL-2.0-only
"""A patch series as it was read: its patches, what they touch, what is missing; and how two of them differ."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from enum import StrEnum

from harness.model.errors import UserError

SERIES_SCHEMA = "ttm-harness/series/1"
SERIES_BASE_SCHEMA = "ttm-harness/series-base/1"
SERIES_DIFF_SCHEMA = "ttm-harness/series-diff/1"
SERIES_FORMS = "mbox:FILE[#MSGID], dir:PATH, git:DIR@A..B, lore:MSGID, patchwork:URL, a file or a URL, or NAME@vN"

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_REVISION = re.compile(r"(.+)@v(\d{1,4})", re.DOTALL)
_MAIL_OF = re.compile(r"(.+)#<?([^\s#<>/]+@[^\s#<>]+)>?", re.DOTALL)
_FILE_SUFFIXES = (".patch", ".diff", ".mbox", ".mbx", ".eml", ".txt", ".html", ".htm", ".gz")


class SeriesForm(StrEnum):
    MBOX = "mbox"
    DIRECTORY = "dir"
    GIT = "git"
    LORE = "lore"
    PATCHWORK = "patchwork"
    FILE = "file"  # what it is, is seen when it is opened
    NAME = "name"  # patches/NAME/series.toml


@dataclass(frozen=True, slots=True)
class SeriesSpec:
    """A series as the user named it. `revision` is what `@vN` asks for; `what` a git range, or the Message-ID of a
    mail of the one that is meant.
    """

    form: SeriesForm
    where: str
    what: str = ""
    revision: int | None = None

    @classmethod
    def parse(cls, text: str) -> SeriesSpec:
        """Read `--series`; UserError on anything that is not one of SERIES_FORMS."""
        if not text.strip() or "\0" in text or "\n" in text:
            raise _bad_series(text, "is empty" if not text.strip() else "has a line break in it")
        head, colon, rest = text.partition(":")
        if colon and head == "git":
            return cls._parse_git(text, rest)
        if colon and head in ("mbox", "dir", "lore", "patchwork", "file"):
            picks = head == "mbox" and _MAIL_OF.fullmatch(rest) is not None
            where, revision = _split_revision(rest, at_least_one_at=head == "lore" or picks)
            if not where:
                raise _bad_series(text, f"names nothing after {head}:")
            mail = _MAIL_OF.fullmatch(where) if picks else None
            where, what = (mail[1], mail[2]) if mail else (where, "")
            return cls(SeriesForm(head), where, what, revision)
        if head in ("http", "https") and rest.startswith("//"):
            where, revision = _split_revision(text, at_least_one_at=False)
            return cls(_form_of_url(text, where), where, revision=revision)
        where, revision = _split_revision(text, at_least_one_at=False)
        if _NAME.fullmatch(where) and not where.lower().endswith(_FILE_SUFFIXES):
            return cls(SeriesForm.NAME, where, revision=revision)
        return cls(SeriesForm.FILE, where, revision=revision)

    @classmethod
    def _parse_git(cls, text: str, rest: str) -> SeriesSpec:
        where, at, span = rest.rpartition("@")
        first, dots, last = span.partition("..")
        if not at or not where or not dots or not first or not last:
            raise _bad_series(text, "is not git:DIR@A..B")
        if last.startswith("."):
            raise _bad_series(text, "has three dots: a series is what B has and A has not, A..B")
        if first.startswith("-") or last.startswith("-"):
            raise _bad_series(text, "names a revision that starts with a dash")
        return cls(SeriesForm.GIT, where, span)

    def __str__(self) -> str:
        wanted = "" if self.revision is None else f"@v{self.revision}"
        if self.form is SeriesForm.GIT:
            return f"git:{self.where}@{self.what}"
        if self.form in (SeriesForm.NAME, SeriesForm.FILE):
            return f"{self.where}{wanted}"
        return f"{self.form}:{self.where}{'#' * bool(self.what)}{self.what}{wanted}"


def _split_revision(text: str, *, at_least_one_at: bool) -> tuple[str, int | None]:
    """`NAME@v8` -> NAME, 8. A Message-ID has an @ of its own, which must be left over."""
    match = _REVISION.fullmatch(text)
    if match is None or (at_least_one_at and "@" not in match[1]):
        return text, None
    return match[1], int(match[2])


def _form_of_url(text: str, url: str) -> SeriesForm:
    host = url.partition("//")[2].partition("/")[0].lower()
    path = url.partition("//")[2].partition("/")[2]
    if host.startswith("lore."):
        return SeriesForm.LORE
    if host.startswith("patchwork.") or re.search(r"(^|/)(series|patch|api)/", path):
        return SeriesForm.PATCHWORK
    if "@" in path:
        return SeriesForm.LORE
    raise _bad_series(text, "is a web address, but neither of a list archive nor of a patchwork")


def _bad_series(text: str, why: str) -> UserError:
    return UserError(f"series {text!r} {why}", hint=f"a series is {SERIES_FORMS}")


class ChangeKind(StrEnum):
    ADDED = "added"
    DELETED = "deleted"
    MODIFIED = "modified"
    RENAMED = "renamed"
    COPIED = "copied"


@dataclass(frozen=True, slots=True)
class FileChange:
    """One file of a patch. Modes are git's six digits, blobs git's (short) hashes, '' where the diff says none.

    `line` and `hunk_lines` are lines of what the patch was read from.
    """

    path: str
    kind: ChangeKind
    adds: int
    dels: int
    old_path: str = ""
    old_mode: str = ""
    new_mode: str = ""
    old_blob: str = ""
    new_blob: str = ""
    binary: bool = False
    line: int = 1
    hunk_lines: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Trailer:
    """`Reviewed-by: Ada`; `source` is the Message-ID of the reply that brought it, '' for the patch's own."""

    key: str
    value: str
    source: str = ""


@dataclass(frozen=True, slots=True)
class Patch:
    """One patch. `subject` is without prefixes, `diff` is clean: from its first header to the end of its last hunk.

    `where` names the file it was read from and `diff_line` the line there at which the diff begins; where the
    mail was encoded, both mean its decoded text. `position` counts from 1; `total` is what the subject says.
    """

    subject: str
    position: int
    total: int
    revision: int
    diff: str
    files: tuple[FileChange, ...]
    patch_id: str
    author: str = ""
    date: str = ""
    message_id: str = ""
    body: str = ""
    trailers: tuple[Trailer, ...] = ()
    where: str = ""
    diff_line: int = 1
    notes: tuple[str, ...] = ()

    @property
    def adds(self) -> int:
        return sum(change.adds for change in self.files)

    @property
    def dels(self) -> int:
        return sum(change.dels for change in self.files)

    @property
    def paths(self) -> tuple[str, ...]:
        """Every path that the patch reads or writes, once, in its order."""
        return tuple(dict.fromkeys(path for change in self.files for path in (change.old_path, change.path) if path))

    def __str__(self) -> str:
        return f"patch {self.position}/{self.total} {self.subject!r}"


@dataclass(frozen=True, slots=True)
class BuildTime:
    """A file of the patch at `position` that the build of a kernel reads as a program. `runs`: what the patch puts
    there may do anything that the build may; else it only names things.
    """

    position: int
    path: str
    what: str
    runs: bool


def say_build_time(touches: tuple[BuildTime, ...]) -> str:
    """One line for one patch; '' for one that touches nothing of the kind."""
    if not touches:
        return ""
    verb = "runs" if any(one.runs for one in touches) else "is read"
    return f"{verb} at build time: {'; '.join(f'{one.path} ({one.what})' for one in touches)}"


@dataclass(frozen=True, slots=True)
class Cover:
    """The cover letter."""

    subject: str
    author: str
    date: str
    message_id: str
    body: str


@dataclass(frozen=True, slots=True)
class Series:
    """Ordered patches. Whole when neither `missing` nor `problems` has anything; `notes` are worth knowing.

    `total` is how many patches there should be. `replies` counts the mails that were only read for trailers.
    `trees` are names of trees that its subjects or its descriptor have.
    """

    name: str
    revision: int
    total: int
    patches: tuple[Patch, ...]
    spec: str
    cover: Cover | None = None
    base_commit: str | None = None
    prerequisites: tuple[str, ...] = ()
    missing: tuple[int, ...] = ()
    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    replies: int = 0
    trees: tuple[str, ...] = ()
    point: int = 0  # the 2 of v6.2

    @property
    def id(self) -> str:
        """64 hex digits over the patch-ids in order: the same however the mails came and wherever they stood."""
        return hashlib.sha256("\n".join(patch.patch_id for patch in self.patches).encode()).hexdigest()

    @property
    def whole(self) -> bool:
        return not self.missing and not self.problems

    @property
    def label(self) -> str:
        return f"{self.name} v{self.revision}{f'.{self.point}' if self.point else ''}"


class Relation(StrEnum):
    SAME = "same"  # the same patch-id and message
    CHANGED = "changed"
    ADDED = "added"
    DROPPED = "dropped"
    MERGED = "merged"  # gone as a patch of its own; its lines are in another one
    SPLIT = "split"  # new as a patch of its own; its lines were in another one
    ABSENT = "absent"  # the other series lacks mails, one of which may be this patch


@dataclass(frozen=True, slots=True)
class PatchPair:
    """A patch of the old series and the one that became of it. Positions are 0 where there is none.

    `other` is the patch that a MERGED one went into (of the new series) or a SPLIT one came out of (of the old).
    `similarity` is the share of changed lines in common; `changes` the words for what differs; `diff` shows it.
    """

    relation: Relation
    old: int
    new: int
    subject: str
    similarity: float = 0.0
    moved: bool = False
    other: int = 0
    changes: tuple[str, ...] = ()
    diff: str = ""


@dataclass(frozen=True, slots=True)
class SeriesDiff:
    """Two revisions, patch by patch, in the order of the new one; what was dropped stands where it was."""

    old: str
    new: str
    old_id: str
    new_id: str
    pairs: tuple[PatchPair, ...]
    notes: tuple[str, ...] = ()

    @property
    def same(self) -> bool:
        return all(pair.relation is Relation.SAME and not pair.moved for pair in self.pairs)


class HunkState(StrEnum):
    CLEAN = "clean"
    OFFSET = "offset"  # elsewhere, its context word for word
    FUZZ = "fuzz"  # only if some lines of context are left out of account
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class HunkReport:
    """What became of hunk `number` (from 1) of a file; `line` is in what the patch was read from.

    `offset` is in lines, `fuzz` the lines of context left out of account at each end.
    """

    path: str
    number: int
    line: int
    state: HunkState
    offset: int = 0
    fuzz: int = 0
    there: bool = False  # it fails, and the tree has what it would make


@dataclass(frozen=True, slots=True)
class PatchReport:
    """How one patch fits a tree that carries the ones before it.

    `applies`: it was applied, perhaps with fuzz if that was allowed. `absent` are the files that it changes and
    the tree lacks, `present` those that it adds and the tree has; `already`: the tree carries it. `conflict`
    shows the first hunk that failed beside the tree's text.
    """

    position: int
    total: int
    subject: str
    applies: bool
    hunks: tuple[HunkReport, ...] = ()
    absent: tuple[str, ...] = ()
    present: tuple[str, ...] = ()
    already: bool = False
    conflict: str = ""
    said: str = ""

    @property
    def fuzzy(self) -> bool:
        """No hunk fails, but some need fuzz."""
        states = {hunk.state for hunk in self.hunks}
        return HunkState.FUZZ in states and HunkState.FAILED not in states and not self.absent and not self.present


@dataclass(frozen=True, slots=True)
class SeriesOutput:
    """What `series show --json` prints."""

    schema: str
    id: str
    whole: bool
    adds: int
    dels: int
    series: Series
    build_time: tuple[BuildTime, ...] = ()


@dataclass(frozen=True, slots=True)
class SeriesDiffOutput:
    """What `series diff --json` prints."""

    schema: str
    same: bool
    diff: SeriesDiff


@dataclass(frozen=True, slots=True)
class SeriesBaseOutput:
    """What `series base --json` prints: the source, why, and what was looked at before."""

    schema: str
    source: str
    why: str
    tried: tuple[str, ...]
