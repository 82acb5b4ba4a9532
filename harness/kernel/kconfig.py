# SPDX-License-Identifier: GPL-2.0-only
"""Profile -> Config: allnoconfig with the profile's asks, then every ask compared with what came out.

Also the comparison with the config of a running guest. What a fragment is belongs to fragments.py, why a symbol
fell away to kconfig_explain.py.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from harness.kernel.fragments import all_asks, for_version
from harness.kernel.kconfig_explain import ConfigOutcome, explain, refuse_unknown, unmet_text
from harness.kernel.make import Make, prepare_place
from harness.kernel.symbols import scan
from harness.model.build import Config, ConfigOption, Profile
from harness.model.errors import BuildFailed, CommandFailed, ConfigUnmet, InfraError, UserError
from harness.model.machine import Difference
from harness.model.tree import Tree
from harness.proc import Deadline
from harness.store.files import write_atomically

_SET = re.compile(r"CONFIG_([A-Za-z0-9_]+)=(.*)")
_NOT_SET = re.compile(r"# CONFIG_([A-Za-z0-9_]+) is not set")
_KCONFIG_ERROR = re.compile(r"^(?:\S*/)?\S*Kconfig\S*:\d+: .*")


def resolve_config(
    tree: Tree, profile: Profile, place: Path, deadline: Deadline, *, cache: Path | None = None
) -> Config:
    """Leaves the profile's .config in the object directory of `place` (make.py) and returns it.

    Raises ConfigUnmet for a symbol that the tree has not or an ask that did not come out, BuildFailed when the tree's
    Kconfig files are broken, UserError when the tree was configured inside.
    """
    fitting, dropped = for_version(profile, tree.version_tuple)
    asks = all_asks(fitting)
    definitions = scan(tree.path)
    refuse_unknown(asks, definitions, tree)
    prepare_place(place, tree.path)
    make = Make(place, cache)
    log = make.objects / "config.log"
    text = _make_config(make, asks, tree, log, deadline)
    values = parse_config(text)
    if missed := [ask for ask in asks if values.get(ask.symbol, "n") != ask.value]:
        unmet, note = explain(missed, ConfigOutcome(tree, make, asks, values, definitions), deadline)
        lines = [f"{len(unmet)} of the symbols asked for did not come out of {tree.origin}:", *map(unmet_text, unmet)]
        raise ConfigUnmet("\n  ".join([*lines, *note]), hint="ask for what is missing, or drop the line", log=log)
    return Config(config_id(text), profile.name, text, dropped)


def _make_config(make: Make, asks: tuple[ConfigOption, ...], tree: Tree, log: Path, deadline: Deadline) -> str:
    asked = make.objects / "asked.config"
    write_atomically(asked, "".join(f"{ask.config_line}\n" for ask in asks))
    log.unlink(missing_ok=True)
    try:
        make.run("allnoconfig", deadline=deadline, log=log, env={"KCONFIG_ALLCONFIG": str(asked)})
        make.run("olddefconfig", deadline=deadline, log=log)
    except CommandFailed as error:
        raise _config_error(error, tree, log) from error
    try:
        return (make.objects / ".config").read_text("utf-8")
    except OSError as error:
        raise InfraError(f"make olddefconfig ended well and left no .config: {error.strerror}", log=log) from error


def _config_error(error: CommandFailed, tree: Tree, log: Path) -> Exception:
    if "source tree is not clean" in error.tail:
        return UserError(
            f"the source tree {tree.path} was configured or built inside, so it cannot be built elsewhere",
            hint=f"make -C {tree.path} mrproper cleans it (and removes its .config)",
            log=log,
        )
    for line in error.tail.split("\n"):
        if _KCONFIG_ERROR.match(line) and "warning:" not in line:
            return BuildFailed(f"the Kconfig files of {tree.origin} are broken: {line.strip()}", log=log)
    return error


def parse_config(text: str) -> dict[str, str]:
    """A .config -> its symbols without CONFIG_; `is not set` is `n`, and so is what is absent."""
    values = {}
    for line in text.split("\n"):
        if match := _SET.fullmatch(line.rstrip("\r")):
            values[match[1]] = match[2]
        elif match := _NOT_SET.fullmatch(line.rstrip("\r")):
            values[match[1]] = "n"
    return values


def config_id(text: str) -> str:
    """sha256 over the symbols of a .config: its comments (date, kernel release, menus) do not count."""
    lines = (line.rstrip("\r") for line in text.split("\n"))
    kept = [line for line in lines if _SET.fullmatch(line) or _NOT_SET.fullmatch(line)]
    return hashlib.sha256("\n".join(kept).encode()).hexdigest()


def compare_with_running(config: Config, running_text: str) -> tuple[Difference, ...]:
    """What the running kernel's /proc/config.gz says differently, symbol by symbol."""
    asked, got = parse_config(config.text), parse_config(running_text)
    pairs = ((name, asked.get(name, "n"), got.get(name, "n")) for name in sorted({*asked, *got}))
    return tuple(Difference(f"CONFIG_{name}", one, other) for name, one, other in pairs if one != other)
