# SPDX-License-Identifier: GPL-2.0-only
"""File names as diffs spell them: quoted as C strings, with a/ and b/ before them.

Pure; a ValueError says what is wrong with a name.
"""

from __future__ import annotations

import re

_OCTAL = re.compile(r'\\([0-7]{3}|[abtnvfr"\\])')
_ESCAPES = {"a": 7, "b": 8, "t": 9, "n": 10, "v": 11, "f": 12, "r": 13, '"': 34, "\\": 92}
_SHOWN = 60


def short(line: str) -> str:
    """A line as it is shown in a sentence."""
    return repr(line if len(line) <= _SHOWN else line[: _SHOWN - 1] + "…")


def strip_first(name: str) -> str:
    """A name without its first component (a/ or b/); absolute ones are left for `validate` to refuse."""
    if name.startswith("/"):
        return name
    first, slash, rest = name.partition("/")
    if not slash or not rest:
        raise ValueError(f"names {name!r}, which lacks the leading a/ or b/")
    return rest if first != ".." else name


def split_git_line(line: str) -> tuple[str, str]:
    """The two names of a `diff --git` line."""
    rest = line.removeprefix("diff --git ").rstrip(" ")
    if rest.startswith('"'):
        old, end = unquote(rest)
        return old, plain(rest[end:].lstrip(" "))
    if rest.endswith('"'):
        at = rest.index('"')
        return rest[:at].rstrip(" "), plain(rest[at:])
    # Names may have blanks in them; but both are the same behind a/ and b/, so the line has a middle.
    middle = len(rest) // 2
    old, new = rest[:middle], rest[middle + 1 :]
    if rest[middle : middle + 1] != " " or old.partition("/")[2] != new.partition("/")[2]:
        raise ValueError(f"does not name one file twice: {short(line)}")
    return old, new


def plain(name: str) -> str:
    """A name that may be in quotes."""
    return unquote(name)[0] if name.startswith('"') else name


def unquote(text: str) -> tuple[str, int]:
    """git's quoted name at the start of a text, and the index behind it; ValueError when it is not one."""
    end = 1
    while end < len(text) and text[end] != '"':
        end += 2 if text[end] == "\\" else 1
    if end >= len(text):
        raise ValueError(f"has a quoted name without an end: {short(text)}")
    raw = bytearray()
    at = 1
    while at < end:
        if text[at] != "\\":
            raw += text[at].encode("utf-8", "replace")
            at += 1
            continue
        match = _OCTAL.match(text, at)
        if match is None:
            raise ValueError(f"has a quoted name that cannot be read: {short(text)}")
        code = match[1]
        raw.append(_ESCAPES[code] if code in _ESCAPES else int(code, 8) & 0xFF)
        at = match.end()
    try:
        return raw.decode("utf-8"), end + 1
    except UnicodeDecodeError:
        raise ValueError(f"has a name that is not UTF-8: {short(text)}") from None


def quote(name: str) -> str:
    """A name as git writes it into a diff: in quotes when it has anything unusual in it."""
    raw = name.encode("utf-8", "replace")
    if all(0x20 <= byte < 0x7F and byte not in b'"\\' for byte in raw):
        return name
    letters = {code: letter for letter, code in _ESCAPES.items()}
    parts = [
        f"\\{letters[byte]}" if byte in letters else chr(byte) if 0x20 <= byte < 0x7F else f"\\{byte:03o}"
        for byte in raw
    ]
    return '"' + "".join(parts) + '"'
