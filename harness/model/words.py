# SPDX-License-Identifier: GPL-2.0-only
"""Words that go to the guest as they are: globs over cases, kernel arguments, knobs."""

from __future__ import annotations

import re
from collections.abc import Iterable

from harness.model.cell import Knob
from harness.model.errors import UserError

_GLOB = re.compile(r"!?[\w:.@+*?\[\]-]+", re.ASCII)


def parse_globs(texts: Iterable[str]) -> tuple[str, ...]:
    """`a_*`, `b,c`: globs, with commas between them; UserError on what is none over names of cases. Empty ones and
    those that were there before are left out.
    """
    globs = tuple(dict.fromkeys(glob.strip() for text in texts for glob in text.split(",") if glob.strip()))
    for glob in globs:
        if not _GLOB.fullmatch(glob):
            raise UserError(
                f"the case {glob!r} is not a glob of letters, digits, _ - : . @ + * ? and [ ]",
                hint="a case without its suite, as in --case 'resume_*'",
            )
    return globs


def parse_words(texts: Iterable[str]) -> tuple[str, ...]:
    """Kernel arguments, split at blanks; UserError on quotes and control characters."""
    words = tuple(word for text in texts for word in text.split())
    for word in words:
        if not word.isprintable() or '"' in word or "'" in word:
            raise UserError(f"the kernel argument {word!r} has a quote or a control character in it")
    return words


def parse_knobs(texts: Iterable[str]) -> tuple[Knob, ...]:
    """`a=1,b=2` -> knobs."""
    knobs = []
    for text in texts:
        for part in filter(None, text.split(",")):
            name, equals, value = part.partition("=")
            if not equals or not name or not value:
                raise UserError(f"the knob {part!r} is not NAME=VALUE", hint="as in --knob bo=1M,caching=wc")
            knobs.append(Knob(name, value))
    return tuple(knobs)
