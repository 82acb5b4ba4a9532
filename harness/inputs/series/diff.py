# SPDX-License-Identifier: GPL-2.0-only
"""A strict reader of unified diffs: every hunk holds exactly the lines that its header says. Pure.

git and patch(1) both pass over what they take for prose, so a line that a mail program wrapped behind the last
line of a hunk silently changes what is applied. Here it is an error with the number of the line. Neither the
email package nor unidiff tell such lines, so the hunks are read here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from harness.inputs.series.names import plain, quote, short, split_git_line, strip_first, unquote
from harness.model.series import ChangeKind, FileChange

DEV_NULL = "/dev/null"
_HUNK = re.compile(r"@@ -(\d{1,9})(?:,(\d{1,9}))? \+(\d{1,9})(?:,(\d{1,9}))? @@")
_CONTEXT = 3
_EXTENDED = re.compile(
    r"(old mode|new mode|deleted file mode|new file mode|copy from|copy to|rename from|rename to|rename old"
    r"|rename new|similarity index|dissimilarity index|index) (.*)"
)
_BINARY = re.compile(r"GIT binary patch\s*$|Binary files .* differ\s*$")
# What may follow a hunk without a blank line: the next part of a diff, a signature, a footer, what ends a mail.
_AFTER_HUNK = re.compile(
    r"@@ -|diff --git |diff -|--- \S|-{2,}\s*$|-- ?\d+\.\d|Index: |={5,}|_+\s*$|_{5,}|-{5,}|\\ |base-commit: "
    r"|Only in "
)
_STRUCTURE = ("diff --git ", "--- ", "+++ ", "@@ -", "index ")
_WRAPPED_FROM = 60  # no mail program wraps lines that are shorter, and few wrap later than at 78
_CODE_ENDS = (";", "{", "}", "\\")  # what no sentence ends in


class DiffError(Exception):
    """What is wrong with which line of what was read."""

    def __init__(self, line: int, what: str) -> None:
        super().__init__(what)
        self.line = line
        self.what = what


@dataclass(frozen=True, slots=True)
class Hunk:
    """`line` is that of the @@ line in what was read; `lines` keep their first character."""

    line: int
    old_start: int
    old_count: int
    new_start: int
    new_count: int
    heading: str
    lines: tuple[str, ...]

    @property
    def header(self) -> str:
        old, new = _span(self.old_start, self.old_count), _span(self.new_start, self.new_count)
        return f"@@ -{old} +{new} @@{self.heading}"

    @property
    def old_side(self) -> tuple[str, ...]:
        return tuple([text[1:] for text in self.lines if text[0] in " -"])


@dataclass(frozen=True, slots=True)
class FileDiff:
    """One file's part: `header` as git writes it before the hunks."""

    change: FileChange
    header: tuple[str, ...]
    hunks: tuple[Hunk, ...]


@dataclass(frozen=True, slots=True)
class Diff:
    """All of a mail's diff, which begins at line `first` of what was read."""

    files: tuple[FileDiff, ...]
    first: int
    notes: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """The diff written anew from what was understood of it, so that what was checked is what is applied."""
        lines: list[str] = []
        for file in self.files:
            lines.extend(file.header)
            for hunk in file.hunks:
                lines.append(hunk.header)
                lines.extend(hunk.lines)
        return "\n".join(lines) + "\n"


def find_diff(lines: list[str], start: int = 0) -> int | None:
    """The index of the line at which a diff begins, None when there is none."""
    for at in range(start, len(lines)):
        line = lines[at]
        if line.startswith("diff --git ") and len(line) > len("diff --git "):
            return at
        if line.startswith("--- ") and _starts_plain(lines, at):
            return at
    return None


def _starts_plain(lines: list[str], at: int) -> bool:
    """`---`, `+++` and a hunk: a diff that is not git's."""
    return (
        at + 2 < len(lines)
        and lines[at].startswith("--- ")
        and lines[at + 1].startswith("+++ ")
        and lines[at + 2].startswith("@@ -")
    )


def read_diff(text: str, *, first_line: int = 1, lenient_end: bool = False) -> Diff | None:
    """The diff in a text, None when there is none; DiffError when it is damaged.

    `first_line` is what the text's first line counts as. With `lenient_end` anything may follow a hunk: for web
    pages, which have a footer.
    """
    lines = text.split("\n")
    first = find_diff(lines)
    if first is None:
        return None
    lines, notes = _without_carriage_returns(lines, first)
    return _Reader(lines, first, first_line, lenient_end).read(notes)


def _without_carriage_returns(lines: list[str], first: int) -> tuple[list[str], tuple[str, ...]]:
    """CR LF on every line that is the diff's own and not a file's is the transport's, whatever ends the lines of a
    footer; where those have none, a CR is the file's own and stays.
    """
    own = [line for line in lines[first:] if line.startswith(_STRUCTURE)]
    if not all(line.endswith("\r") for line in own):
        return lines, ()
    return [line.removesuffix("\r") for line in lines], ("its lines end in CR LF; the CRs were taken off",)


@dataclass(slots=True)
class _Section:
    """A file's part while it is read; it begins at the line of index `at`."""

    at: int
    git_line: str = ""
    words: dict[str, str] = field(default_factory=dict)
    extended: list[str] = field(default_factory=list)
    old: str | None = None
    new: str | None = None
    binary: bool = False
    hunks: list[Hunk] = field(default_factory=list)


class _Reader:
    """One pass over the lines, each looked at once or twice."""

    def __init__(self, lines: list[str], first: int, first_line: int, lenient_end: bool) -> None:
        self._lines = lines
        self._at = first
        self._first = first
        self._offset = first_line
        self._lenient = lenient_end
        self._sections: list[_Section] = []
        self._restored = 0

    def read(self, notes: tuple[str, ...]) -> Diff:
        while self._at < len(self._lines):
            line = self._lines[self._at]
            if line.startswith("diff --git "):
                self._git_header()
            elif line.startswith("--- ") and _starts_plain(self._lines, self._at):
                self._plain_header()
            elif line.startswith(("diff --cc ", "diff --combined ", "@@@ ")):
                raise self._error("is a merge's diff, which has no single parent to apply to")
            elif line.startswith("@@ -"):
                raise self._error("begins a hunk, but no file was named for it")
            else:
                self._at += 1
        if self._restored:
            notes = (*notes, f"blank lines at the end, lost on the way, were put back: {self._restored}")
        files = tuple([self._finish(section) for section in self._sections])
        return Diff(files, self._line(self._first), notes)

    def _line(self, at: int) -> int:
        return at + self._offset

    def _error(self, what: str, at: int | None = None) -> DiffError:
        return DiffError(self._line(self._at if at is None else at), what)

    def _finish(self, section: _Section) -> FileDiff:
        try:
            return _finish(section, self._line(section.at))
        except ValueError as error:
            raise self._error(str(error), section.at) from None

    def _git_header(self) -> None:
        section = _Section(self._at, self._lines[self._at])
        self._at += 1
        while self._at < len(self._lines):
            line = self._lines[self._at]
            match = _EXTENDED.fullmatch(line)
            if match:
                if match[1] in section.words:
                    raise self._error(f"says {match[1]!r} a second time for one file")
                section.words[match[1]] = match[2]
                section.extended.append(line)
                self._at += 1
                continue
            break
        self._sections.append(section)
        if self._at < len(self._lines):
            line = self._lines[self._at]
            if _BINARY.match(line):
                section.binary = True
                self._at += 1
            elif line.startswith("--- ") and _starts_plain(self._lines, self._at):
                self._names(section)
                self._hunks(section)
            elif line.startswith(("--- ", "@@ -")):
                raise self._error("should begin the names of a file (---, +++) and a hunk, and does not")

    def _plain_header(self) -> None:
        section = _Section(self._at)
        self._names(section)
        self._sections.append(section)
        self._hunks(section)

    def _names(self, section: _Section) -> None:
        section.old = self._name(self._lines[self._at], "--- ")
        self._at += 1
        section.new = self._name(self._lines[self._at], "+++ ")
        self._at += 1

    def _name(self, line: str, mark: str) -> str:
        name = line.removeprefix(mark)
        try:
            if name.startswith('"'):
                return unquote(name)[0]
        except ValueError as error:
            raise self._error(str(error)) from None
        return name.partition("\t")[0].rstrip(" ")

    def _hunks(self, section: _Section) -> None:
        while self._at < len(self._lines) and self._lines[self._at].startswith("@@ -"):
            section.hunks.append(self._hunk())
        if not self._lenient:
            self._check_what_follows(section.hunks[-1])

    def _check_what_follows(self, hunk: Hunk) -> None:
        """Words behind the last hunk of a file are passed over, as git does: unless they could be the hunk's."""
        if self._at >= len(self._lines):
            return
        line = self._lines[self._at]
        if not line.strip() or _AFTER_HUNK.match(line):
            return
        if line[0] in " +-":
            raise self._error(f"goes on with the hunk of line {hunk.line}, which was to end before it: {short(line)}")
        last = next(text for text in reversed(hunk.lines) if not text.startswith("\\"))
        long = len(last.rstrip()) + len(line.split(None, 1)[0]) >= _WRAPPED_FROM
        if long or line.rstrip().endswith(_CODE_ENDS):
            raise self._error(f"follows a hunk and is no part of a diff, as a wrapped line would: {short(line)}")

    def _hunk(self) -> Hunk:
        at = self._at
        match = _HUNK.match(self._lines[at])
        if match is None:
            raise self._error(f"is no hunk header: {short(self._lines[at])}")
        old_start, new_start = int(match[1]), int(match[3])
        old_count = int(match[2]) if match[2] is not None else 1
        new_count = int(match[4]) if match[4] is not None else 1
        old, new = old_count, new_count
        lines: list[str] = []
        self._at += 1
        while old or new:
            text = self._hunk_line(at, old, new)
            lines.append(text)
            old -= text[0] in " -"
            new -= text[0] in " +"
            self._at += 1
        if not lines:
            raise self._error("is a hunk of no lines", at)
        if self._at < len(self._lines) and self._lines[self._at].startswith("\\ "):
            lines.append(self._lines[self._at])
            self._at += 1
        heading = self._lines[at][match.end() :].rstrip()
        return Hunk(self._line(at), old_start, old_count, new_start, new_count, heading, tuple(lines))

    def _hunk_line(self, start: int, old: int, new: int) -> str:
        """The present line, if the hunk that began at `start` still wants such a one."""
        lack = f"{old} old and {new} new lines"
        if self._at >= len(self._lines) or (self._at == len(self._lines) - 1 and not self._lines[self._at]):
            if self._lenient and old == new <= _CONTEXT:
                self._restored += 1  # who saves a page often strips what ends it; it must still fit the tree
                return " "
            raise self._error(f"begins a hunk that is cut short: {lack} are missing at the end", start)
        line = self._lines[self._at]
        if not line.strip("\r"):
            line = " " + line  # a blank context line that lost its blank on the way; git and patch take it too
        mark = line[0]
        if mark == "\\":
            return line
        if mark not in " +-":
            if line.startswith(("@@ -", "diff --git ")):
                raise self._error(f"begins a new part, but the hunk of line {self._line(start)} still lacks {lack}")
            raise self._error(
                f"is neither context nor change, in a hunk that still lacks {lack}: "
                f"the mail was wrapped or cut: {short(line)}"
            )
        if (mark in " -" and not old) or (mark in " +" and not new):
            raise self._error(f"is one too many for the hunk of line {self._line(start)}: {short(line)}")
        return line


def _span(start: int, count: int) -> str:
    return str(start) if count == 1 else f"{start},{count}"


def _finish(section: _Section, line: int) -> FileDiff:
    """What a part comes to; ValueError when its names contradict each other."""
    old, new = _sides(section)
    words = section.words
    kind = ChangeKind.MODIFIED
    if old is None:
        kind = ChangeKind.ADDED
    elif new is None:
        kind = ChangeKind.DELETED
    elif "rename from" in words:
        kind = ChangeKind.RENAMED
    elif "copy from" in words:
        kind = ChangeKind.COPIED
    elif old != new:
        raise ValueError(f"names two different files, {old} and {new}")
    blobs, _, index_mode = words.get("index", "").partition(" ")
    old_blob, _, new_blob = blobs.partition("..")
    path, old_path = new or old or "", (old if kind in (ChangeKind.RENAMED, ChangeKind.COPIED) else "") or ""
    change = FileChange(
        path=path,
        kind=kind,
        adds=sum([text[0] == "+" for hunk in section.hunks for text in hunk.lines]),
        dels=sum([text[0] == "-" for hunk in section.hunks for text in hunk.lines]),
        old_path=old_path,
        old_mode=words.get("old mode", words.get("deleted file mode", index_mode)),
        new_mode=words.get("new mode", words.get("new file mode", index_mode)),
        old_blob=old_blob,
        new_blob=new_blob,
        binary=section.binary,
        line=line,
        hunk_lines=tuple([hunk.line for hunk in section.hunks]),
    )
    return FileDiff(change, tuple(_header(section, old, new)), tuple(section.hunks))


def _sides(section: _Section) -> tuple[str | None, str | None]:
    """The paths before and after, without their first component; None for a side that is not there."""
    words = section.words
    for verb in ("rename", "copy"):
        if f"{verb} from" in words or f"{verb} to" in words:
            if f"{verb} from" not in words or f"{verb} to" not in words:
                raise ValueError(f"names only one side of a {verb}")
            return plain(words[f"{verb} from"]), plain(words[f"{verb} to"])
    if section.old is None or section.new is None:
        old, new = split_git_line(section.git_line)
    else:
        old, new = section.old, section.new
        if not section.git_line and len(section.hunks) == 1:
            # diff -N writes no /dev/null, but a file that is not there has no lines
            only = section.hunks[0]
            old = DEV_NULL if (only.old_start, only.old_count) == (0, 0) else old
            new = DEV_NULL if (only.new_start, only.new_count) == (0, 0) else new
    before = None if old == DEV_NULL or "new file mode" in words else strip_first(old)
    after = None if new == DEV_NULL or "deleted file mode" in words else strip_first(new)
    if before is None and after is None:
        raise ValueError("names no file on either side")
    return before, after


def _header(section: _Section, old: str | None, new: str | None) -> list[str]:
    """The lines before the hunks, written anew."""
    left, right = quote(f"a/{old or new}"), quote(f"b/{new or old}")
    lines = [f"diff --git {left} {right}"]
    if not section.git_line and old is None:
        lines.append("new file mode 100644")
    if not section.git_line and new is None:
        lines.append("deleted file mode 100644")
    for text in section.extended:
        match = _EXTENDED.fullmatch(text)
        assert match is not None
        lines.append(f"{match[1]} {quote(plain(match[2]))}" if match[1].endswith((" from", " to")) else text)
    if section.hunks:
        lines += [f"--- {left if old else DEV_NULL}", f"+++ {right if new else DEV_NULL}"]
        # git ends a name with a blank in it with a tab, or patch(1) would take what follows the blank for a date
        lines[-2:] = [line + "\t" if " " in line[4:] and not line.endswith('"') else line for line in lines[-2:]]
    return lines
