# SPDX-License-Identifier: GPL-2.0-only
"""Why an option did not come out as asked: a name that no Kconfig file has, or a dependency that is not met.

kconfiglib knows the dependencies (kconfig_query.py, a process of its own, some seconds); where it cannot read the
tree, they come from a plain reading of the symbol's own `depends on` lines (symbols.py).
"""

from __future__ import annotations

import difflib
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from harness.kernel.fragments import place
from harness.kernel.make import Make
from harness.kernel.symbols import Definition, names_in, read_depends
from harness.model.arch import guest_arch
from harness.model.build import ConfigOption, Unmet
from harness.model.codec import from_json
from harness.model.errors import ConfigUnmet, InfraError, StoreCorrupt
from harness.model.tree import Tree
from harness.proc import Deadline, run
from harness.sandbox import within

_ORACLE_SECONDS = 120.0
_SHOWN = 5  # of a list in a message
# What the kernel's Makefile exports for Kconfig's macros, with the architecture and its tools.
_GNU_TOOLS = {
    "CC": "gcc",
    "LD": "ld",
    "AR": "ar",
    "NM": "nm",
    "OBJCOPY": "objcopy",
    "OBJDUMP": "objdump",
    "READELF": "readelf",
}
_KCONFIG_VARIABLES = {
    "HOSTCC": "gcc",
    "HOSTCXX": "g++",
    "RUSTC": "rustc",
    "BINDGEN": "bindgen",
    "PAHOLE": "pahole",
    "AWK": "awk",
}


@dataclass(frozen=True, slots=True)
class ConfigOutcome:
    """What was asked of a tree, and the values (without CONFIG_) that came out."""

    tree: Tree
    make: Make
    asks: tuple[ConfigOption, ...]
    values: Mapping[str, str]
    definitions: Mapping[str, tuple[Definition, ...]]

    def says(self, symbol: str) -> str:
        """`BLK_DEV is n, in no fragment`."""
        places = [place(ask) for ask in self.asks if ask.symbol == symbol]
        asked = f"asked for in {places[0]}" if places else "in no fragment"
        return f"{symbol} is {self.values.get(symbol, 'n')}, {asked}"


@dataclass(frozen=True, slots=True)
class Value:
    symbol: str
    value: str


@dataclass(frozen=True, slots=True)
class Broken:
    """A part of a dependency that is not y: its text, its value (n or m), the symbols in it with theirs."""

    term: str
    value: str
    symbols: tuple[Value, ...]


@dataclass(frozen=True, slots=True)
class Account:
    """What kconfiglib knows of one symbol (made by kconfig_query.py).

    `known`: this architecture has it. `prompt`: it can be set by hand. `broken`: what keeps it from y.
    `held_by`: what selects it now. `choice`: the member that its choice is set to instead.
    """

    symbol: str
    known: bool
    prompt: bool
    kind: str
    broken: tuple[Broken, ...]
    held_by: tuple[str, ...]
    could_be_selected_by: tuple[str, ...]
    ranges: tuple[str, ...]
    choice: str


@dataclass(frozen=True, slots=True)
class Accounts:
    """The oracle's answer: accounts in the order of the question, or the error that kept it from one."""

    accounts: tuple[Account, ...] = ()
    error: str = ""


def refuse_unknown(asks: tuple[ConfigOption, ...], definitions: Mapping[str, object], tree: Tree) -> None:
    """ConfigUnmet names every asked symbol that no Kconfig file of the tree defines, with the nearest that are."""
    unknown = [ask for ask in asks if ask.symbol not in definitions]
    if unknown:
        raise ConfigUnmet(
            f"no Kconfig file of {tree.origin} defines "
            + _some(tuple(_unknown_text(ask, tuple(definitions)) for ask in unknown)),
            hint=f"correct the name; if {tree.version} has no such symbol, say so with `# since X.Y:` above the line",
        )


def _unknown_text(ask: ConfigOption, names: tuple[str, ...]) -> str:
    close = difflib.get_close_matches(ask.symbol, names, 3, 0.75)
    return f"CONFIG_{ask.symbol} ({place(ask)}" + (f", did you mean {' or '.join(close)}?)" if close else ")")


def explain(
    missed: list[ConfigOption], outcome: ConfigOutcome, deadline: Deadline
) -> tuple[tuple[Unmet, ...], tuple[str, ...]]:
    """Each missed option with what came out and why; and a note (none or one) on how far that can be trusted."""
    note: tuple[str, ...] = ()
    try:
        accounts = _ask_oracle(tuple(ask.symbol for ask in missed), outcome, deadline)
        whys = [account_text(account, ask, outcome) for account, ask in zip(accounts, missed, strict=True)]
    except InfraError as error:
        if deadline.passed:
            raise
        whys = [_plain_text(ask, outcome) for ask in missed]
        note = (f"(menus and `if` blocks are not considered, as kconfiglib cannot read this tree: {error.message})",)
    got = [outcome.values.get(ask.symbol, "n") for ask in missed]
    return tuple(Unmet(*triple) for triple in zip(missed, got, whys, strict=True)), note


def unmet_text(unmet: Unmet) -> str:
    """One line for one symbol: what was asked where, what came out, and why."""
    ask = unmet.ask
    return f"CONFIG_{ask.symbol}={ask.value} ({place(ask)}) came out as {unmet.got}: {unmet.why}"


def account_text(account: Account, ask: ConfigOption, outcome: ConfigOutcome) -> str:
    """Why the ask's symbol came out as it did, in words."""
    if not account.known:
        return "only other architectures have it"
    if account.choice:
        return f"it is one of a choice, and the choice is {account.choice}"
    if account.ranges:
        return f"its range is {' or '.join(account.ranges)}"
    if not account.prompt:
        return _unprompted_text(account, outcome)
    # A bool, or a module, is content with a dependency that is m.
    enough = account.kind == "bool" or ask.value == "m"
    if broken := [item for item in dict.fromkeys(account.broken) if item.value == "n" or not enough]:
        return "it needs " + ", and ".join(_broken_text(item, outcome) for item in broken)
    if account.held_by:
        return f"it is selected by {_some(account.held_by)}"
    return "its dependencies are met, so another rule of Kconfig sets it"


def _unprompted_text(account: Account, outcome: ConfigOutcome) -> str:
    if account.held_by:
        return f"it cannot be set by hand, and is selected by {_some(account.held_by)}"
    if account.could_be_selected_by:
        selectors = [outcome.says(name) for name in account.could_be_selected_by]
        return f"it cannot be set by hand, only be selected by {_some(tuple(selectors))}"
    return "it cannot be set by hand, and nothing selects it"


def _broken_text(broken: Broken, outcome: ConfigOutcome) -> str:
    term = broken.term if len(broken.term) <= 200 else f"{broken.term[:200]}..."
    parts = tuple(outcome.says(item.symbol) for item in broken.symbols)
    return f"{term} ({_some(parts)})" if parts else term


def _some(names: tuple[str, ...]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return "; ".join(names[:_SHOWN]) + more


def _ask_oracle(symbols: tuple[str, ...], outcome: ConfigOutcome, deadline: Deadline) -> tuple[Account, ...]:
    tree, make = outcome.tree, outcome.make
    arch = guest_arch()
    env = {**make.environment, **_KCONFIG_VARIABLES, "ARCH": arch.name, "SRCARCH": arch.folder}
    env |= {name: f"{arch.prefix}{tool}" for name, tool in _GNU_TOOLS.items()}
    env |= {"srctree": str(tree.path), "KERNELVERSION": tree.version}
    env["CC_VERSION_TEXT"] = outcome.values.get("CC_VERSION_TEXT", "").strip('"')
    # kconfiglib runs the shell macros of the tree's Kconfig files
    oracle = Path(__file__).with_name("kconfig_query.py")
    confines = make.confines()
    words = within(replace(confines, reads=(*confines.reads, oracle), writes=()))
    done = run(
        (sys.executable, "-P", str(oracle), str(make.objects / ".config"), *symbols),
        deadline=deadline.at_most(_ORACLE_SECONDS),
        cwd=make.objects,
        env=env,
        merge_errors=False,
        reaped=True,
        within=words,
        private=True,
    )
    answer = from_json(Accounts, done.output)
    if answer.error:
        raise InfraError(answer.error)
    if tuple(account.symbol for account in answer.accounts) != symbols:
        raise StoreCorrupt("kconfiglib answered for other symbols than it was asked for")
    return answer.accounts


def _plain_text(ask: ConfigOption, outcome: ConfigOutcome) -> str:
    for definition in outcome.definitions[ask.symbol]:
        for expression in read_depends(outcome.tree.path, definition):
            names = names_in(expression)
            if any(outcome.values.get(name, "n") != "y" for name in names):
                parts = _some(tuple(outcome.says(name) for name in names))
                return f"{definition.file}:{definition.line} depends on {expression} ({parts})"
    first = outcome.definitions[ask.symbol][0]
    return f"no `depends on` at {first.file}:{first.line} is plainly unmet"
