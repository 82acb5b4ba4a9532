# SPDX-License-Identifier: GPL-2.0-only
"""The JSON round trip of every value: `to_json(value)` and `from_json(Type, text)`.

Swap is written as people write it, `disk:1G`; the object with a kind and a size, of earlier reports, is still read.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from harness.model.errors import StoreCorrupt
from harness.model.swap import Swap
from harness.model.units import format_size
from harness.model.visible import visible_json

if TYPE_CHECKING:
    from cattrs.preconf.json import JsonConverter

T = TypeVar("T")


def _swap(plain: str | dict[str, str | int], _: object) -> Swap:
    if isinstance(plain, dict):
        kind, size = str(plain["kind"]), int(plain["size"])
        plain = f"{kind}:{format_size(size)}" if size else kind
    return Swap.parse(plain)


@cache
def _converter() -> JsonConverter:
    from cattrs.preconf.json import make_converter  # a tenth of a start: only who reads or writes values needs it

    converter = make_converter(forbid_extra_keys=True)
    converter.register_unstructure_hook(Path, str)
    converter.register_structure_hook(Path, lambda text, _: Path(text))
    converter.register_unstructure_hook(Swap, str)
    converter.register_structure_hook(Swap, _swap)
    return converter


def to_plain(value: object) -> object:
    """A frozen dataclass -> dicts, lists, strings and numbers."""
    plain: object = _converter().unstructure(value)
    return plain


def to_json(value: object) -> str:
    """A frozen dataclass -> indented JSON text, ending in a newline; what a terminal would obey is escaped."""
    return visible_json(_converter().dumps(value, indent=1, ensure_ascii=False)) + "\n"


def from_json(kind: type[T], text: str, where: str = "") -> T:
    """JSON text -> the dataclass; StoreCorrupt names what does not fit, and `where` the text is from."""
    from cattrs import transform_error
    from cattrs.errors import BaseValidationError

    not_it = f"{where} is not the JSON of a {kind.__name__}" if where else f"not the JSON of a {kind.__name__}"
    try:
        return _converter().loads(text, kind)
    except BaseValidationError as error:
        first, *more = transform_error(error)
        rest = f" (and {len(more)} more)" if more else ""
        raise StoreCorrupt(f"{not_it}: {first}{rest}") from error
    except RecursionError as error:
        raise StoreCorrupt(f"{not_it}: it is nested too deep") from error
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError) as error:
        raise StoreCorrupt(f"{not_it}: {error}") from error
