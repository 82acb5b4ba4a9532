# SPDX-License-Identifier: GPL-2.0-only
"""What of a patch runs on the host while the kernel is built, before any of it boots. Pure.

Makefiles and Kconfig files are programs, as are the scripts and host tools that they call. Lines that only name
objects, or symbols without a macro, do what they say; whatever else is changed in such a file counts as running. C of
the kernel itself is compiled and never run. A file whose kind is not known counts as running.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import PurePosixPath

from harness.inputs.series.diff import FileDiff, read_diff
from harness.model.series import BuildTime, Patch

_MAKEFILE = re.compile(r"(?:.*/)?(?:Makefile|Kbuild)(?:\..*)?|.*\.(?:mk|make|include)")
_KCONFIG = re.compile(r"(?:.*/)?Kconfig[^/]*")
_PLACES = (
    (re.compile(r"scripts/.*"), "a script or host tool of the build"),
    (re.compile(r"tools/.*"), "a tool that the build makes and runs"),
    (re.compile(r"certs/.*|usr/.*"), "part of a host tool of the build"),
    (re.compile(r"arch/[^/]+/(?:tools|boot)/.*"), "part of a host tool of the build"),
    (re.compile(r"arch/.*/(?:vdso|pi|nvhe)[^/]*/(?:gen|rel|vdso2c|vdsomunge).*"), "part of a host tool of the build"),
)
_HOST_PROGRAMS = re.compile(
    r"lib/.*(?:gen_|mktables|mkutf8|unroll).*|fs/unicode/mkutf8data\.c|security/selinux/genheaders.*"
    r"|drivers/gpu/drm/(?:xe/xe_gen_\w+|radeon/mkregtable|msm/registers/.*)\.?\w*|drivers/tty/vt/conmakehash\.c"
    r"|drivers/video/logo/pnmtologo\.c|drivers/zorro/gen-devlist\.c|drivers/accessibility/speakup/(?:genmap|makemap).*"
    r"|kernel/gen_\w+\.sh|include/linux/crc32poly\.h|.*/(?:hostprogs?|mk\w+|gen[-_]\w+)\.c"
)
# Read by compilers, by checkers and by people, which run nothing of it.
_READ = re.compile(
    r"Documentation/.*\.(?:rst|txt|yaml|svg|dot|json)|.*\.(?:[chS]|rst|txt|yaml|dts|dtsi|dtso|json|tbl|rules|rs|config|lds)"
    r"|(?:.*/)?(?:\.gitignore|\.mailmap|\.kunitconfig|\.clang-format|\.editorconfig|README|CREDITS|MAINTAINERS|COPYING)"
    r"|arch/[^/]+/configs/.*|LICENSES/.*|.*\.lds\.[Sh]"
)
_DOCUMENTS_RUN = re.compile(r"Documentation/(?:.*\.py|Makefile|conf\.py)")
_OBJECT = r"[\w./-]+(?:\.o|/)"
_NAMES_OBJECTS = re.compile(
    rf"\s*(?:#.*(?<!\\)|(?!always|extra|targets|host|user|cc|as|ld|subdir)[\w-]+-(?:y|m|\$\(CONFIG_\w+\))\s*[+:]?=\s*"
    rf"(?:{_OBJECT}\s+)*(?:{_OBJECT})?\s*\\?|(?:{_OBJECT}\s+)*{_OBJECT}\s*\\?)?"
)
_MACRO = re.compile(r"\$\(|`|:=|\$\{")
_SOURCES = re.compile(r"\s*[or]?source\s+(?!\"?[^\"]*/?Kconfig)")


def build_time(patch: Patch) -> tuple[BuildTime, ...]:
    """What the patch touches of what the build executes, in the order of its files."""
    diff = read_diff(patch.diff)
    if diff is None:
        return tuple(BuildTime(patch.position, path, "its diff cannot be read", True) for path in patch.paths)
    return tuple(touch for file in diff.files for touch in _touches(patch.position, file))


def _touches(position: int, file: FileDiff) -> Iterator[BuildTime]:
    change = file.change
    for path in dict.fromkeys(path for path in (change.old_path, change.path) if path):
        added = [line[1:] for hunk in file.hunks for line in hunk.lines if line.startswith("+")]
        what, runs = _judge(path, added, moved=bool(change.old_path and change.old_path != change.path))
        if change.new_mode == "100755" != change.old_mode and not runs:
            what, runs = "it is made a program", True
        if what:
            yield BuildTime(position, path, what, runs)


def _judge(path: str, added: list[str], *, moved: bool) -> tuple[str, bool]:
    """What the file is to the build, '' for nothing; whether the added lines run."""
    if _MAKEFILE.fullmatch(path):
        if "$(shell" in "".join(added):
            return "a Makefile, with $(shell …)", True
        if moved or not all(_NAMES_OBJECTS.fullmatch(line) for line in added):
            return "a Makefile, with more than names of objects", True
        return "a Makefile, with names of objects", False
    if _KCONFIG.fullmatch(path):
        if moved or any(_MACRO.search(line) or _SOURCES.match(line) for line in added):
            return "a Kconfig file, with macros", True
        return "a Kconfig file", False
    for pattern, what in _PLACES:
        if pattern.fullmatch(path):
            return what, True
    if _HOST_PROGRAMS.fullmatch(path):
        return "part of a host tool of the build", True
    if _READ.fullmatch(path) or (path.startswith("Documentation/") and not _DOCUMENTS_RUN.fullmatch(path)):
        return "", False
    kind = PurePosixPath(path).suffix or "without a suffix"
    return f"a file of a kind that may run ({kind})", True
