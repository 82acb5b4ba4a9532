# SPDX-License-Identifier: GPL-2.0-only
"""The host's apt sources, read; and the sources of a private apt root, made of them. Pure but for `read_host`.

No mirror is named here: addresses, keys and what else it takes to reach a mirror are the host's own.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

# Suites in which a linux-source may be found beyond those of the host: the newest, the newest for the stable
# release, and a base from before the series. One that the mirror lacks is passed over.
WIDER_SUITES = ("sid", "trixie-backports", "trixie")
_RELEASES = frozenset(
    (
        *("sid", "unstable", "testing", "stable", "oldstable", "oldoldstable", "experimental", "rc-buggy"),
        *("buster", "bullseye", "bookworm", "trixie", "forky", "duke"),
    )
)
_POCKETS = re.compile(r"(-updates|-security|-backports|-backports-sloppy|-proposed-updates|/updates)$")
_SECURITY = re.compile(r"(-security|/updates)$")
_ARCHIVE_KEYRING = re.compile(r"(debian|ubuntu|raspbian)-archive")
_KEPT_OPTIONS = ("Signed-By", "Trusted", "Check-Valid-Until", "Check-Date", "Allow-Insecure")
_ONE_LINE = re.compile(r"(deb|deb-src)\s+(?:\[([^\]]*)\]\s+)?(\S+)\s+(\S+)((?:\s+\S+)*)\s*")
_NO = ("no", "false", "without", "off", "disable", "0")
_WANTED_COMPONENTS = ("main", "universe")


@dataclass(frozen=True, slots=True)
class Repository:
    """One entry: where, which suites and components, and the options that reaching it takes (deb822 names)."""

    uris: tuple[str, ...]
    suites: tuple[str, ...]
    components: tuple[str, ...]
    options: tuple[tuple[str, str], ...] = ()

    @property
    def signed_by(self) -> str:
        return dict(self.options).get("Signed-By", "")

    @property
    def is_archive(self) -> bool:
        """By its key a distribution's own archive; the keys of third parties have files of their own."""
        return not self.signed_by or bool(_ARCHIVE_KEYRING.search(self.signed_by))

    @property
    def is_debian(self) -> bool:
        return all(_POCKETS.sub("", suite) in _RELEASES for suite in self.suites)

    @property
    def is_security(self) -> bool:
        return all(_SECURITY.search(suite) for suite in self.suites)

    def has_key(self, apt_directory: Path) -> bool:
        """Whether what is signed by it could be checked here, or need not be."""
        options = dict(self.options)
        if any(options.get(name, "no").lower() not in _NO for name in ("Trusted", "Allow-Insecure")):
            return True
        if "BEGIN PGP" in self.signed_by:
            return True
        files = [Path(word) for word in self.signed_by.split() if word.startswith("/")]
        if not files:  # any key that apt trusts
            parts = apt_directory / "trusted.gpg.d"
            files = [apt_directory / "trusted.gpg", *parts.glob("*.gpg"), *parts.glob("*.asc")]
        return any(path.is_file() for path in files)

    def to_deb822(self) -> str:
        """The stanza of a .sources file, for package lists and nothing else."""
        lines = [
            "Types: deb",
            f"URIs: {' '.join(self.uris)}",
            f"Suites: {' '.join(self.suites)}",
            f"Components: {' '.join(self.components)}",
            "Targets: Packages",
            *(f"{name}: {value}" for name, value in self.options),
        ]
        return "\n".join(lines) + "\n"


def read_host(apt_directory: Path) -> list[Repository]:
    """Every enabled binary repository that the host's sources.list and sources.list.d name."""
    parts = apt_directory / "sources.list.d"
    files = [apt_directory / "sources.list", *sorted(parts.glob("*.list")), *sorted(parts.glob("*.sources"))]
    found: list[Repository] = []
    for path in files:
        try:
            text = path.read_text(encoding="utf-8", errors="replace")
        except OSError:  # not there, or not ours to read
            continue
        found += parse_deb822(text) if path.suffix == ".sources" else parse_one_line(text)
    return found


def parse_one_line(text: str) -> list[Repository]:
    """The `deb [options] URI SUITE COMPONENT...` form."""
    found = []
    for line in text.splitlines():
        match = _ONE_LINE.fullmatch(line.partition("#")[0].strip())
        if match is None or match[1] != "deb":
            continue
        options = {}
        for word in (match[2] or "").split():
            name, _, value = word.partition("=")
            options[name.rstrip("+-").lower()] = value.replace(",", " ")
        repository = _repository((match[3],), (match[4],), tuple(match[5].split()), options)
        if repository is not None:
            found.append(repository)
    return found


def parse_deb822(text: str) -> list[Repository]:
    """The stanza form, with an inline key kept as it is."""
    found = []
    for fields in _stanzas(text):
        if "deb" not in fields.get("types", "").split():
            continue
        uris, suites, components = (tuple(fields.get(name, "").split()) for name in ("uris", "suites", "components"))
        repository = _repository(uris, suites, components, fields)
        if repository is not None:
            found.append(repository)
    return found


def _stanzas(text: str) -> list[dict[str, str]]:
    stanzas: list[dict[str, str]] = [{}]
    name = ""
    for line in text.splitlines():
        if line.startswith("#"):
            continue
        if not line.strip():
            stanzas.append({})
        elif line[0] in " \t" and name in stanzas[-1]:
            stanzas[-1][name] += "\n" + line.rstrip()
        else:
            name, _, value = line.partition(":")
            name = name.strip().lower()
            stanzas[-1][name] = value.strip()
    return [stanza for stanza in stanzas if stanza]


def _repository(
    uris: Iterable[str], suites: tuple[str, ...], components: tuple[str, ...], options: dict[str, str]
) -> Repository | None:
    """None for what is disabled, a medium to insert, or a flat repository without components."""
    if options.get("enabled", "yes").lower() in _NO:
        return None
    usable = tuple(uri for uri in uris if not uri.startswith(("cdrom:", "copy:")))
    wanted = tuple(one for one in components if one in _WANTED_COMPONENTS)
    if not usable or not suites or "main" not in wanted:
        return None
    kept = tuple((name, options[name.lower()]) for name in _KEPT_OPTIONS if options.get(name.lower()))
    return Repository(usable, suites, wanted, kept)


def plan(host: Iterable[Repository]) -> list[Repository]:
    """The repositories of the private root.

    A Debian host's own and, from the same mirror, the wider suites; on another distribution with apt its own.
    Entries signed by a distribution's key come first, all others count only when there is none of those.
    """
    entries = [one for one in host if "main" in one.components]
    entries = [one for one in entries if one.is_archive] or entries
    debian = [replace(one, components=("main",)) for one in entries if one.is_debian]
    if not debian:
        return entries
    archive = next((one for one in debian if not one.is_security), None)
    if archive is None:
        return debian
    there = {suite for one in debian if set(one.uris) & set(archive.uris) for suite in one.suites}
    wider = tuple(suite for suite in WIDER_SUITES if suite not in there)
    return [*debian, replace(archive, suites=wider)] if wider else debian


def to_sources(repositories: Iterable[Repository]) -> str:
    """The .sources file of a private root."""
    return "\n".join(one.to_deb822() for one in repositories)
