# SPDX-License-Identifier: GPL-2.0-only
"""What make printed -> steps, compiler warnings, the first error. Pure; knows kbuild's output and nothing else.

Colours, and the links behind them, are taken out before a line is looked at: a compiler may be told to print them
whatever its output is, by a Makefile, or by GCC_COLORS and -fdiagnostics-color in somebody's flags.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

from harness.model.build import CompilerWarning

# SGR and `erase to the end`, as gcc and clang print them, and the link (OSC 8) that gcc puts around -Wname.
_COLOUR = re.compile(r"\x1b\[[0-9;:]*[mK]|\x1b\]8;[^\x07\x1b\n]*(?:\x07|\x1b\\)")
_STEP = re.compile(r"  (?P<action>[A-Z][A-Z0-9_]*)(?: \[M\])? +(?P<target>\S.*)")
_PLACE = r"(?P<file>[^\s:]+):(?P<line>[0-9]+):(?:[0-9]+:)?"
_WARNING = re.compile(_PLACE + r" warning: (?P<text>.*)")
_ERROR = re.compile(r"(?P<file>[^\s:]+):(?P<where>[0-9]+(?::[0-9]+)?): (?P<text>(?:fatal )?error: .*)")
_OBJTOOL = re.compile(r"(?P<file>[^\s:]+): warning: objtool: (?P<text>.*)")
_MODPOST = re.compile(r"WARNING: modpost: (?P<text>\S.*)")
_FUNCTION = re.compile(r"(?P<file>[^\s:]+): In function .*:")
_NOTE = re.compile(_PLACE + r" note: in expansion of macro .*")
_OFFSET = re.compile(r"\+0x[0-9a-f]+")
_FAILED = re.compile(r"make(?:\[[0-9]+\])?: \*\*\* \[(?:\S+: )?(?P<target>[^\]]+)\] Error [0-9]+")
_UNREADABLE = re.compile(r"(?P<file>[^\s:]+):(?P<line>[0-9]+): (?P<text>\*\*\* \S.*)")  # a Makefile, says make

# In the order of how exactly they say what is wrong; each is looked for in the whole log before the next.
_OTHER_ERRORS = (
    re.compile(r".*undefined reference to .*"),
    re.compile(r"ERROR: modpost: .*"),
    re.compile(r".*: error: .*"),
    re.compile(r".*[Ee]rror: .*"),
    re.compile(r"make(?:\[[0-9]+\])?: \*\*\* .*"),
)
_TOOLS = (
    "ar|as|awk|bash|bc|bison|bzip2|cat|cc|cc1|ccache|clang|cp|cpio|depmod|diff|find|flex|gawk|gcc|g\\+\\+|grep|gzip|install|ld"
    "|ld\\.bfd|ld\\.lld|ln|lz4|lzop|m4|make|mkdir|mv|nm|objcopy|objdump|openssl|pahole|perl|python3?|readelf|rm|sed|sh|sort"
    "|sparse|strip|tar|touch|tr|xargs|xxd|xz|zstd"
)
_HOST_TROUBLE = (
    (re.compile(r".*(?:No space left on device|Disk quota exceeded).*"), "the disk is full"),
    (re.compile(r".*(?:Input/output error|Read-only file system|Stale file handle).*"), "the disk cannot be used"),
    (
        re.compile(
            r".*(?:Killed signal terminated program|terminated with signal 9 \[Killed\]).*"
            r"|make(?:\[[0-9]+\])?: \*\*\* \[.*\] (?:Killed|Error 137)"
            r"|(?:/\S*/)?(?:ba|da)?sh: line [0-9]+: +[0-9]+ Killed .*|Killed"
        ),
        "the compiler, or another tool, was killed, as happens when memory is short",
    ),
    (re.compile(r"make(?:\[[0-9]+\])?: \*\*\* \[.*\] (?:Terminated|Hangup|Interrupt)"), "somebody ended it"),
    (
        re.compile(
            r".*(?:virtual memory exhausted|Cannot allocate memory|out of memory allocating|memory exhausted"
            r"|std::bad_alloc|LLVM ERROR: out of memory).*"
        ),
        "out of memory",
    ),
    (
        re.compile(r".*(?:Cannot fork|vfork: |fork: retry|Resource temporarily unavailable|Too many open files).*"),
        "the host does not let it start more processes, or open more files",
    ),
    (
        re.compile(
            r".*internal compiler error: .*|.*\b(?:cc1|as|ld|collect2)\b.*"
            r"(?:Segmentation fault|Bus error|Illegal instruction).*"
        ),
        "the compiler itself crashed",
    ),
    (re.compile(r".*file not recognized: file (?:truncated|format not recognized).*"), "an object is cut off"),
    (
        re.compile(
            rf"(?:/\S*/)?(?:ba|da)?sh: (?:(?:line )?[0-9]+: )?(?P<shell>{_TOOLS}): (?:command )?not found"
            rf"|make(?:\[[0-9]+\])?: (?P<make>{_TOOLS}): No such file or directory"
            rf"|.*(?:error trying to exec|cannot execute) \W?(?P<gcc>{_TOOLS})\W.*"
        ),
        "a tool is gone",
    ),
)
# What the sources say of themselves, and an excerpt of them.
_OF_THE_SOURCES = re.compile(r".*: (?:error|warning): #(?:error|warning)\b.*|\s*[0-9]* \|.*")
_SANDBOX = re.compile(r"(?:contain|bwrap): (?P<text>.*)")
_MISSING_HEADER = re.compile(
    r"(?P<by>[^\s:]+):[0-9]+:(?:[0-9]+:)? fatal error: (?P<header>\S+): No such file or directory"
)
_HOST_HEADERS = re.compile(r"(?:libelf|gelf|elf|dwarf|ncurses|zlib)\.h|openssl/.*|elfutils/.*")


def uncoloured(line: str) -> str:
    """The line without colours and links; other escapes stay, for whoever shows it."""
    return _COLOUR.sub("", line) if "\x1b" in line else line


def step_of(line: str) -> str | None:
    """`  CC [M]  fs/fuse/dev.o` -> `CC fs/fuse/dev.o`: one step of a build; None for any other line."""
    match = _STEP.fullmatch(uncoloured(line))
    return f"{match['action']} {match['target'].strip()}" if match else None


@dataclass(frozen=True, slots=True)
class Paths:
    """The roots that are cut from file names, so that a message is the same for every checkout."""

    roots: tuple[str, ...]

    def shorten(self, name: str) -> str:
        """`/store/objects/ID/mm/slub.c`, `../mm/slub.c` -> `mm/slub.c`; other names stay."""
        for root in self.roots:
            name = name.removeprefix(f"{root}/")
        return str(PurePosixPath(name.removeprefix("../")))

    def shorten_all(self, text: str) -> str:
        for root in self.roots:
            text = text.replace(f"{root}/", "")
        return text


def parse_warnings(lines: Iterable[str], paths: Paths) -> tuple[CompilerWarning, ...]:
    """Warnings of the compiler, of objtool (line 0, offsets cut) and of modpost (line 0); each file and text once.

    A warning inside a macro of a header belongs to the file that used the macro, as far as the compiler says which.
    """
    found: dict[tuple[str, str], CompilerWarning] = {}
    user: str | None = None  # the file of the function that the compiler is talking about
    pending: CompilerWarning | None = None  # a warning whose line in `user` is still to come
    for line in map(uncoloured, lines):
        if match := _FUNCTION.fullmatch(line):
            user = paths.shorten(match["file"])
        elif step_of(line) is not None:
            user = pending = None
        elif (
            pending is not None and (match := _NOTE.fullmatch(line)) and paths.shorten(match["file"]) == pending.file
        ):
            found[pending.file, pending.text] = replace(pending, line=int(match["line"]))
            pending = None
        warning = _parse_warning(line, paths)
        if warning is None:
            continue
        pending = None
        if user is not None and warning.line and warning.file != user:
            warning = pending = replace(warning, file=user)
        found.setdefault((warning.file, warning.text), warning)
    return tuple(found.values())


def _parse_warning(line: str, paths: Paths) -> CompilerWarning | None:
    if "arning: " not in line and "WARNING: " not in line:
        return None
    if match := _WARNING.fullmatch(line):
        return CompilerWarning(paths.shorten(match["file"]), int(match["line"]), match["text"])
    if match := _OBJTOOL.fullmatch(line):
        return CompilerWarning(paths.shorten(match["file"]), 0, _OFFSET.sub("", match["text"]))
    if match := _MODPOST.fullmatch(line):
        # `FILE: text`, or on older kernels `text in FILE`.
        first, _, rest = match["text"].partition(": ")
        file, text = (first, rest) if rest and " " not in first else (first.split()[-1], match["text"])
        return CompilerWarning(paths.shorten(file), 0, _OFFSET.sub("", text))
    return None


@dataclass(frozen=True, slots=True)
class Failures:
    """What a make that went on as far as it could (-k) said. `errors`: target -> its first error, in make's order;
    `rest`: the lines that are not of targets that failed.
    """

    errors: dict[str, str]
    rest: tuple[str, ...]


def parse_failures(lines: Sequence[str], paths: Paths) -> Failures:
    """make puts what a target said between the line of its step and the line that says that it failed."""
    errors: dict[str, str] = {}
    rest: list[str] = []
    step = 0  # where in `rest` the last step begins
    for line in map(uncoloured, lines):
        if match := _UNREADABLE.fullmatch(line):
            errors.setdefault(paths.shorten(match["file"]), paths.shorten_all(line.removeprefix("../")))
        elif match := _FAILED.match(line):
            target = paths.shorten(match["target"])
            errors.setdefault(target, first_error(rest[step:], paths) or line)
            if step < len(rest) and (step_of(rest[step]) or "").endswith(f" {target}"):
                del rest[step:]
            step = len(rest)
            continue
        elif step_of(line) is not None:
            # Of one target are both, the compiler's step and that of the checker behind it.
            step = len(rest)
        rest.append(line)
    return Failures(errors, tuple(rest))


def parse_checked(lines: Iterable[str], paths: Paths) -> tuple[CompilerWarning, ...]:
    """What sparse calls an error: make goes on after it, so it is a warning, whose text says `error: `."""
    found: dict[tuple[str, str], CompilerWarning] = {}
    checked = False
    for line in map(uncoloured, lines):
        if (step := step_of(line)) is not None:
            checked = step.startswith("CHECK ")
        elif checked and (match := _ERROR.fullmatch(line)):
            file = paths.shorten(match["file"])
            warning = CompilerWarning(file, int(match["where"].partition(":")[0]), match["text"])
            found.setdefault((file, warning.text), warning)
    return tuple(found.values())


def first_error(lines: Iterable[str], paths: Paths) -> str | None:
    """The first compiler error as `file:line:col: error: text`, else the line that says most, else None."""
    kept = [uncoloured(line) for line in lines]
    for line in kept:
        if match := _ERROR.fullmatch(line):
            return f"{paths.shorten(match['file'])}:{match['where']}: {match['text']}"
    for pattern in _OTHER_ERRORS:
        for line in kept:
            if pattern.fullmatch(line):
                return paths.shorten_all(line.strip())
    return None


def host_trouble(lines: Iterable[str]) -> str | None:
    """What is wrong with this host, in words, when make failed by no fault of the sources; None otherwise."""
    for line in map(uncoloured, lines):
        if _OF_THE_SOURCES.fullmatch(line):
            continue
        if match := _SANDBOX.fullmatch(line):
            return f"its sandbox says: {match['text']}"
        for pattern, words in _HOST_TROUBLE:
            if match := pattern.fullmatch(line):
                tool = next((name for name in match.groupdict().values() if name), "")
                return f"{words}: {tool}" if tool else words
    return None


def missing_header(lines: Iterable[str]) -> str | None:
    """A header of a host library (libelf, openssl) that a program of the build did not find."""
    for line in map(uncoloured, lines):
        match = _MISSING_HEADER.fullmatch(line)
        if match and _HOST_HEADERS.fullmatch(match["header"]):
            return match["header"]
    return None
