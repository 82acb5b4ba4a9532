# SPDX-License-Identifier: GPL-2.0-only
"""The JSON round trip of every value: `to_json(value)` and `from_json(Type, text)`."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

import cattrs.preconf.json
from cattrs.errors import BaseValidationError

from harness.model.errors import StoreCorrupt

T = TypeVar("T")

_converter = cattrs.preconf.json.make_converter(forbid_extra_keys=True)
_converter.register_unstructure_hook(Path, str)
_converter.register_structure_hook(Path, lambda text, _: Path(text))


def to_plain(value: object) -> object:
    """A frozen dataclass -> dicts, lists, strings and numbers."""
    plain: object = _converter.unstructure(value)
    return plain


def to_json(value: object) -> str:
    """A frozen dataclass -> indented JSON text, ending in a newline."""
    return _converter.dumps(value, indent=1, ensure_ascii=False) + "\n"


def from_json(kind: type[T], text: str) -> T:
    """JSON text -> the dataclass; StoreCorrupt names what does not fit."""
    try:
        return _converter.loads(text, kind)
    except (BaseValidationError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise StoreCorrupt(f"not the JSON of a {kind.__name__}: {error}") from error
