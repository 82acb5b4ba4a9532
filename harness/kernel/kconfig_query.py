# SPDX-License-Identifier: GPL-2.0-only
"""Asks kconfiglib why symbols came out as they did: `kconfig_query.py CONFIG SYMBOL...` prints JSON.

A program of its own, started by `kconfig_explain.py` through `proc.run`: kconfiglib runs the shell macros of Kconfig
itself, takes its variables from the process's environment and needs some seconds, all of which is to happen
under a deadline and not in the harness. Standard library and kconfiglib only: it starts in an isolated
interpreter. The variables of Kconfig (srctree, SRCARCH, CC, ...) are expected in the environment.
"""

from __future__ import annotations

import io
import json
import re
import sys

import kconfiglib

# Keywords that kernels have and kconfiglib 14.1 has not. In a help text the change does no harm.
_TRANSITIONAL = re.compile(r"\s+transitional\s*")
_MODULES = re.compile(r"\s+modules\s*")
_DEPENDS_IF = re.compile(r"(\s+depends on )([^#]+?)\sif\s([^#]+?)\s*(?:#.*)?")


class _Kconfig(kconfiglib.Kconfig):  # type: ignore[misc]  # kconfiglib is untyped
    """kconfiglib's reader, with newer keywords put in the words that it knows (line numbers stay)."""

    def _open(self, filename: str, mode: str) -> io.TextIOBase:
        file: io.TextIOBase = super()._open(filename, mode)
        if mode != "r":
            return file
        with file:
            return io.StringIO("".join(map(_older_words, file)))


def _older_words(line: str) -> str:
    if _TRANSITIONAL.fullmatch(line):
        return "\n"
    if _MODULES.fullmatch(line):
        return "\toption modules\n"
    # Kconfig means `X || Y = n`, which has no spelling for a Y of several words; they differ for Y=m only.
    if match := _DEPENDS_IF.fullmatch(line.rstrip()):
        return f"{match[1]}({match[2]}) || !({match[3]})\n"
    return line


def main(argv: list[str]) -> int:
    try:
        tree = _Kconfig("Kconfig", warn=False)
        tree.load_config(argv[0])
    except (kconfiglib.KconfigError, OSError) as error:
        print(json.dumps({"error": str(error)}))
        return 0
    print(json.dumps({"accounts": [account(tree, name) for name in argv[1:]]}))
    return 0


def account(tree: _Kconfig, name: str) -> dict[str, object]:
    """What Kconfig knows of one symbol, in plain values; `Account` in kconfig_explain.py says what they mean."""
    symbol = tree.syms.get(name)
    if symbol is None or not symbol.nodes:
        return _as_account(name, known=False)
    prompts = [node.prompt[1] for node in symbol.nodes if node.prompt]
    broken = min((_broken(prompt) for prompt in prompts), key=len, default=[])
    return _as_account(
        name,
        known=True,
        prompt=bool(prompts),
        kind=kconfiglib.TYPE_TO_STR[symbol.type],
        broken=broken,
        held_by=[_head(term) for term in _selects(symbol) if kconfiglib.expr_value(term)],
        could_be_selected_by=[_head(term) for term in _selects(symbol)],
        ranges=[f"{low.str_value}..{high.str_value}" for low, high, when in symbol.ranges if _true(when)],
        choice=_chosen(symbol),
    )


def _as_account(name: str, **known: object) -> dict[str, object]:
    nothing: dict[str, object] = {
        "known": False,
        "prompt": False,
        "kind": "",
        "broken": [],
        "held_by": [],
        "could_be_selected_by": [],
        "ranges": [],
        "choice": "",
    }
    return {"symbol": name, **nothing, **known}


def _broken(expression: object) -> list[dict[str, object]]:
    """The parts of a conjunction that are not y: their text, and the symbols in them with their values."""
    return [
        {"term": kconfiglib.expr_str(term), "value": "nmy"[kconfiglib.expr_value(term)], "symbols": _values(term)}
        for term in kconfiglib.split_expr(expression, kconfiglib.AND)
        if kconfiglib.expr_value(term) < 2
    ]


def _values(term: object) -> list[dict[str, str]]:
    symbols = {item for item in kconfiglib.expr_items(term) if isinstance(item, kconfiglib.Symbol)}
    named = sorted((item.name, item.str_value) for item in symbols if not item.is_constant)
    return [{"symbol": name, "value": value} for name, value in named]


def _selects(symbol: kconfiglib.Symbol) -> list[object]:
    if symbol.rev_dep is symbol.kconfig.n:
        return []
    return list(kconfiglib.split_expr(symbol.rev_dep, kconfiglib.OR))


def _head(term: object) -> str:
    """The symbol that selects, of `SELECTING && condition`."""
    return str(kconfiglib.split_expr(term, kconfiglib.AND)[0].name)


def _true(expression: object) -> bool:
    return bool(kconfiglib.expr_value(expression))


def _chosen(symbol: kconfiglib.Symbol) -> str:
    chosen = symbol.choice.selection if symbol.choice is not None else None
    return str(chosen.name) if chosen is not None and chosen is not symbol else ""


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
