# SPDX-License-Identifier: GPL-2.0-only
"""Text of others made harmless to look at: patches, compilers, guests and logs may hold what a terminal obeys, what
turns the reading order round, and what cannot be seen at all.

Each such character is shown as its escape, `\\x1b` or `\\u202e`, the way Python and C write it.
"""

from __future__ import annotations

import re

# Control characters but tab and newline (C0, DEL, C1); what formats or cannot be seen in Unicode (category
# Cf, the fillers, the tags), the line and paragraph separators; surrogates, which no encoding has;
# the two that XML cannot carry.
_UNSAFE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u034f\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2"
    "\u115f\u1160\u17b4\u17b5\u180b-\u180f"
    "\u200b-\u200f\u2028-\u202e\u2060-\u206f\u3164\ud800-\udfff\ufeff\uffa0\ufff0-\ufffb\ufffe\uffff"
    "\U000110bd\U000110cd\U00013430-\U0001343f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)


def visible(text: str) -> str:
    """The text with tabs and line breaks as they are and all else that is no plain text as escapes."""
    return text if text.isascii() and text.isprintable() else _UNSAFE.sub(_escape, text)


def visible_field(text: str) -> str:
    """The same for what must stay in its line: a break becomes `\\n`, so that nobody begins a line of ours."""
    return visible(text).replace("\n", "\\n")


def visible_json(text: str) -> str:
    """JSON text with what is not plain text as JSON's own escapes: the same values, and valid in any encoding."""
    return _UNSAFE.sub(_json_escape, text)


def _escape(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _json_escape(match: re.Match[str]) -> str:
    code = ord(match[0])
    if code < 0x10000:
        return f"\\u{code:04x}"
    high, low = divmod(code - 0x10000, 0x400)
    return f"\\u{0xD800 + high:04x}\\u{0xDC00 + low:04x}"
