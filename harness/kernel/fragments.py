# SPDX-License-Identifier: GPL-2.0-only
"""Text of kernel-configs/ -> Fragment -> Profile. Knows nothing of a tree, of make or of what comes out.

A fragment line is an ask: `CONFIG_X=value`, or `# CONFIG_X is not set`. A comment of the form

    # since 7.0: why
    # before 6.15: why
    # since 6.12, before 7.0: why

limits the asks right below it, up to the next blank line or comment, to those kernel versions. What only one
architecture has stands in NAME.ARCH.config beside NAME.config, and is read with it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from harness.model.arch import guest_arch
from harness.model.build import ConfigOption, Fragment, Profile
from harness.model.errors import UserError
from harness.model.toml import parse_toml

PROFILES_FILE = "profiles.toml"
_MOST_SLOWNESS = 100.0

_ASK = re.compile(r'CONFIG_([A-Za-z0-9_]+)=(-?[0-9]+|0[xX][0-9A-Fa-f]+|[ymn]|"(?:[^"\\]|\\.)*")')
_NOT_SET = re.compile(r"# CONFIG_([A-Za-z0-9_]+) is not set")
_ALMOST_NOT_SET = re.compile(r"#\s*CONFIG_\w+\s+is\b")
_LIMIT = re.compile(
    r"# (?:since (?P<since>[0-9]{1,4}\.[0-9]{1,4}))?(?P<comma>, )?(?:before (?P<before>[0-9]{1,4}\.[0-9]{1,4}))?:.*"
)
_ALMOST_LIMIT = re.compile(r"#\s*(?:since|before)\s+[0-9]")

Version = tuple[int, int]
FIRST: Version = (0, 0)
NEVER: Version = (9999, 0)


@dataclass(frozen=True, slots=True)
class LimitedOption(ConfigOption):
    """An ask that holds for kernels in [since, before) only."""

    since: Version = FIRST
    before: Version = NEVER


def limits(ask: ConfigOption) -> tuple[Version, Version]:
    """The kernel versions [since, before) for which the ask holds."""
    return (ask.since, ask.before) if isinstance(ask, LimitedOption) else (FIRST, NEVER)


def place(ask: ConfigOption) -> str:
    """Where the ask stands, as a person would look it up: `base.config:12`."""
    return f"{ask.fragment}.config:{ask.line}"


def parse_fragment(name: str, text: str) -> Fragment:
    """A fragment file's text -> Fragment; UserError with file and line on what is neither ask nor comment."""
    asks: list[ConfigOption] = []
    limit = (FIRST, NEVER)
    for number, raw in enumerate(text.split("\n"), 1):
        line = raw.rstrip()
        ask = _parse_ask(name, number, line)
        if ask is None:
            limit = _parse_limit(name, number, line)
        elif limit == (FIRST, NEVER):
            asks.append(ask)
        else:
            asks.append(LimitedOption(ask.symbol, ask.value, ask.fragment, ask.line, *limit))
    _refuse_contradictions(asks)
    return Fragment(name, tuple(asks))


def _parse_ask(name: str, number: int, line: str) -> ConfigOption | None:
    if match := _ASK.fullmatch(line):
        return ConfigOption(match[1], match[2], name, number)
    if match := _NOT_SET.fullmatch(line):
        return ConfigOption(match[1], "n", name, number)
    if not line or (line.startswith("#") and not _ALMOST_NOT_SET.match(line)):
        return None
    raise UserError(
        f"{name}.config:{number}: {line!r} is neither an ask nor a comment",
        hint="write CONFIG_X=y (or m, a number, a quoted string) or `# CONFIG_X is not set`, with nothing around it",
    )


def _parse_limit(name: str, number: int, line: str) -> tuple[Version, Version]:
    match = _LIMIT.fullmatch(line)
    since, before = (match["since"], match["before"]) if match else (None, None)
    if match and (since or before) and bool(match["comma"]) == bool(since and before):
        limit = (_version(since) if since else FIRST, _version(before) if before else NEVER)
        if limit[0] < limit[1]:
            return limit
        raise UserError(f"{name}.config:{number}: no kernel is both since {since} and before {before}")
    if _ALMOST_LIMIT.match(line):
        raise UserError(
            f"{name}.config:{number}: {line!r} names no range of kernel versions",
            hint="write `# since 7.0: why`, `# before 7.0: why` or `# since 6.12, before 7.0: why`",
        )
    return FIRST, NEVER


def _version(text: str) -> Version:
    major, minor = text.split(".")
    return int(major), int(minor)


def compose(profile: str, fragments: Iterable[Fragment]) -> Profile:
    """Fragments -> Profile; UserError when two of them ask for different values of a symbol in one kernel version."""
    parts = tuple(fragments)
    _refuse_contradictions(ask for part in parts for ask in part.asks)
    return Profile(profile, parts)


def _refuse_contradictions(asks: Iterable[ConfigOption]) -> None:
    seen: dict[str, list[ConfigOption]] = {}
    for ask in asks:
        for other in seen.setdefault(ask.symbol, []):
            if other.value != ask.value and _overlap(other, ask):
                raise UserError(
                    f"CONFIG_{ask.symbol} is asked to be {other.value} in {place(other)} "
                    f"and {ask.value} in {place(ask)}",
                    hint="drop one of the lines, or limit each to its kernel versions with `# since X.Y:`",
                )
        seen[ask.symbol].append(ask)


def _overlap(one: ConfigOption, other: ConfigOption) -> bool:
    (since, before), (other_since, other_before) = limits(one), limits(other)
    return since < other_before and other_since < before


def for_version(profile: Profile, version: tuple[int, int, int]) -> tuple[Profile, tuple[ConfigOption, ...]]:
    """The profile as it holds for that kernel, and the asks that were left out of it."""
    dropped: list[ConfigOption] = []
    fragments = []
    for fragment in profile.fragments:
        kept: list[ConfigOption] = []
        for ask in fragment.asks:
            since, before = limits(ask)
            (kept if since <= version[:2] < before else dropped).append(ask)
        fragments.append(replace(fragment, asks=tuple(kept)))
    return replace(profile, fragments=tuple(fragments)), tuple(dropped)


def all_asks(profile: Profile) -> tuple[ConfigOption, ...]:
    """Every ask of every fragment, in order; a symbol may come twice, with the same value."""
    return tuple(ask for fragment in profile.fragments for ask in fragment.asks)


@dataclass(frozen=True, slots=True)
class ProfileEntry:
    """A table of profiles.toml."""

    name: str
    about: str
    fragments: tuple[str, ...]
    slowness: float = 1.0


@dataclass(frozen=True, slots=True)
class _Table:
    """The keys of a profile."""

    about: str
    fragments: tuple[str, ...]
    slowness: float = 1.0


def parse_profiles(text: str, where: str = PROFILES_FILE) -> tuple[ProfileEntry, ...]:
    """profiles.toml -> its tables; UserError on anything else."""
    found = parse_toml(dict[str, _Table], text, where)
    for name, table in found.items():
        if not table.fragments:
            raise UserError(f"{where}: profile {name} has no fragments", hint="name one at least")
        if not 1.0 <= table.slowness <= _MOST_SLOWNESS:
            raise UserError(f"{where}: slowness of profile {name} is no number from 1.0 to {_MOST_SLOWNESS}")
    return tuple(ProfileEntry(name, one.about, one.fragments, one.slowness) for name, one in found.items())


def read_profiles(configs_dir: Path) -> tuple[ProfileEntry, ...]:
    """The profiles that `configs_dir` defines."""
    return parse_profiles(_read(configs_dir / PROFILES_FILE, f"{configs_dir} is no folder of kernel configs"))


def read_profile(name: str, configs_dir: Path) -> Profile:
    """The profile with its fragments; UserError lists the profiles that there are when it is not one of them."""
    entries = {entry.name: entry for entry in read_profiles(configs_dir)}
    if name not in entries:
        raise UserError(
            f"there is no profile {name!r} in {configs_dir / PROFILES_FILE}",
            hint=f"the profiles are {', '.join(sorted(entries))}",
        )
    profile = compose(name, [_read_fragment(part, name, configs_dir) for part in entries[name].fragments])
    return replace(profile, slowness=entries[name].slowness)


def _read_fragment(fragment: str, profile: str, configs_dir: Path) -> Fragment:
    text = _read(configs_dir / f"{fragment}.config", f"profile {profile} names the fragment {fragment!r}")
    found = parse_fragment(fragment, text)
    own = f"{fragment}.{guest_arch().name}"
    if not (configs_dir / f"{own}.config").exists():
        return found
    mine = parse_fragment(own, _read(configs_dir / f"{own}.config", f"it is a part of the fragment {fragment!r}"))
    return replace(found, asks=(*found.asks, *mine.asks))


def _read(path: Path, why: str) -> str:
    try:
        return path.read_text("utf-8")
    except OSError as error:
        raise UserError(f"{why}, but {path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 text: {error.reason} at byte {error.start}") from error
