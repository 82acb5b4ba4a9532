# SPDX-License-Identifier: GPL-2.0-only
"""The JSON round trip of every value: `to_json(value)` and `from_json(Type, text)`.

Swap is written as people write it, `disk:1G`; the object with a kind and a size, of earlier reports, is still read.
The figures of a Cost are written beside its other keys.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar

from harness.model.compare import Cost
from harness.model.errors import StoreCorrupt
from harness.model.machine import GuestFacts, Machine
from harness.model.swap import Swap
from harness.model.units import format_size
from harness.model.visible import visible_json

if TYPE_CHECKING:
    from cattrs.preconf.json import JsonConverter

T = TypeVar("T")


class Upgraded(Protocol):
    """A value that can still be read from the JSON that older versions wrote of it."""

    @staticmethod
    def upgraded(plain: dict[str, object]) -> dict[str, object]:
        """The JSON as it is written now, from any that was ever written."""


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
    converter.register_structure_hook_factory(lambda kind: hasattr(kind, "upgraded"), partial(_upgrading, converter))
    _flatten_costs(converter)
    _leave_out_what_is_rare(converter)
    return converter


def _leave_out_what_is_rare(converter: JsonConverter) -> None:
    """A guest is nowhere else, and has no device of the host's: only those that are asked for say so."""
    from cattrs.gen import make_dict_unstructure_fn, override

    rare = override(omit_if_default=True)
    converter.register_unstructure_hook(Machine, make_dict_unstructure_fn(Machine, converter, at=rare, device=rare))
    converter.register_unstructure_hook(GuestFacts, make_dict_unstructure_fn(GuestFacts, converter, pci=rare))


def _flatten_costs(converter: JsonConverter) -> None:
    from cattrs.gen import make_dict_unstructure_fn

    written = make_dict_unstructure_fn(Cost, converter)

    def flat(cost: Cost) -> dict[str, object]:
        plain: dict[str, object] = written(cost)
        del plain["figures"]
        return {**plain, **cost.figures}

    converter.register_unstructure_hook(Cost, flat)


def _upgrading(converter: JsonConverter, kind: type[Upgraded]) -> Callable[[object, object], object]:
    """Reads a kind whose JSON was another one once."""
    from cattrs.gen import make_dict_structure_fn

    read = make_dict_structure_fn(kind, converter, _cattrs_forbid_extra_keys=True)
    return lambda plain, _: read(kind.upgraded(plain) if isinstance(plain, dict) else plain, kind)  # type: ignore[arg-type]  # which cattrs refuses


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
