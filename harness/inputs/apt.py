# SPDX-License-Identifier: GPL-2.0-only
"""A private apt root in the store: lists, cache and state of its own, mirror and keys of the host.

Needs no root rights and changes nothing on the host. apt checks the signature of the lists and the hash of what
it downloads; what the lists say of linux-source packages is kept as a small catalogue, so that a run which finds
its source in the store starts no process at all.
"""

from __future__ import annotations

import os
import re
import time
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from harness.inputs.apt_sources import plan, read_host, to_sources
from harness.inputs.source_cache import Work, no_space, require_space
from harness.inputs.unpack import hash_file
from harness.model.codec import from_json, to_json
from harness.model.errors import CommandFailed, HarnessError, InfraError, UserError
from harness.model.units import MIB, about_size, whole_number
from harness.proc import find_tool, run
from harness.store.files import locked, write_atomically

APT_DIRECTORY = Path("/etc/apt")
FRESH_SECONDS = 12 * 3600.0
_PACKAGE = re.compile(r"linux-source-\d+\.\d+(\.\d+)?|linux-hwe-\d+\.\d+-source-\d+\.\d+\.\d+")
_STATUS = re.compile(r"dlstatus:\d+:([0-9.]+):")
_LISTS_SPACE = 400 * MIB
_NOT_FOUND = re.compile(r"\b404 +Not Found\b")  # 404 alone is in checksums and ports, too
_NO_SUCH_VERSION = ("Unable to locate package", "was not found", "Can't find a source to download")


@dataclass(frozen=True, slots=True)
class PackageOffer:
    """A package in some suite."""

    package: str
    version: str
    sha256: str
    size: int


@dataclass(frozen=True, slots=True)
class Catalogue:
    """What the mirror offers, according to lists fetched at `when` (seconds since 1970) by `sources`."""

    sources: str
    when: float
    offers: tuple[PackageOffer, ...]
    complaint: str = ""


class Gone(InfraError):
    """The lists name a package that the mirror does not have any more."""


def apt_is_own(apt_directory: Path = APT_DIRECTORY) -> bool:
    """Whether apt is this host's own, not one that was installed beside another package manager: with its tools, with
    sources that name a distribution's archive, and with a key of that.
    """
    if find_tool("apt-get") is None or find_tool("dpkg-deb") is None:
        return False
    return any(one.has_key(apt_directory) for one in plan(read_host(apt_directory)))


class PrivateApt:
    """apt-get and apt-cache on the private root."""

    def __init__(self, work: Work, apt_directory: Path = APT_DIRECTORY) -> None:
        self._work = work
        self._root = work.layout.downloads / "apt"
        self._file = self._root / "catalogue.json"
        self._sources = to_sources(plan(read_host(apt_directory)))
        self._host = apt_directory

    def catalogue(self, younger_than: float) -> Catalogue | None:
        """The kept catalogue, if it is of these sources and young enough."""
        try:
            kept = from_json(Catalogue, self._file.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, HarnessError):
            return None
        age = time.time() - kept.when
        return kept if kept.sources == self._sources and 0 <= age < younger_than else None

    def refreshed(self, younger_than: float) -> Catalogue:
        """A catalogue of now; that of another process when that one was quicker."""
        self._require()
        self._work.reach_out("the mirror's list of packages")
        with self._lock():
            if kept := self.catalogue(younger_than):
                return kept
            for directory in ("lists/partial", "cache/archives/partial", "state"):
                (self._root / directory).mkdir(parents=True, exist_ok=True)
            require_space(self._root, _LISTS_SPACE, "the mirror's package lists")
            write_atomically(self._root / "status", "")
            write_atomically(self._root / "harness.sources", self._sources)
            complaint = self._update()
            catalogue = Catalogue(self._sources, time.time(), tuple(self._offers()), complaint)
            write_atomically(self._file, to_json(catalogue))
            return catalogue

    def download(self, offer: PackageOffer, into: Path) -> Path:
        """The package's file, its hash checked; Gone when the lists are behind the mirror."""
        self._require()
        self._work.reach_out(f"{offer.package} {offer.version} ({about_size(offer.size)})")
        into.mkdir(parents=True, exist_ok=True)
        require_space(into, offer.size, f"downloading {offer.package}")
        self._work.progress.step(f"downloading {offer.package} {offer.version}")
        with self._lock():
            try:
                self._run("apt-get", "download", f"{offer.package}={offer.version}", cwd=into)
            except CommandFailed as error:
                raise _explain(offer, error.tail) from error
        for path in into.glob(f"{offer.package}_*.deb"):
            if hash_file(path) == offer.sha256:
                return path
            path.unlink()
        raise InfraError(
            f"checksum mismatch: {offer.package} {offer.version} is not the file that the mirror's lists describe",
            hint="try again in an hour: the mirror may be in the middle of an update",
        )

    def _lock(self) -> AbstractContextManager[int]:
        step = self._work.progress.step
        return locked(
            self._work.layout.locks / "apt.lock",
            self._work.deadline,
            lambda: step("waiting for another ttm-harness, which is using apt"),
        )

    def _require(self) -> None:
        if find_tool("apt-get") is None or find_tool("dpkg-deb") is None:
            raise UserError(
                "the source debian needs apt-get and dpkg-deb, which this host does not have",
                hint="use kernel.org:VERSION, git:DIR@REV, tar:FILE or a directory",
            )
        if not self._sources:
            raise UserError(
                f"the apt sources in {self._host} name no mirror of a distribution",
                hint="add one there, or use kernel.org:VERSION, git:DIR@REV, tar:FILE or a directory",
            )

    def _run(
        self, tool: str, *words: str, cwd: Path | None = None, merge: bool = True, allowed: tuple[int, ...] = (0,)
    ) -> str:
        root = self._root
        options = {
            "Dir::Etc::SourceList": root / "harness.sources",
            "Dir::Etc::SourceParts": "/dev/null",
            "Dir::Etc::Preferences": "/dev/null",
            "Dir::Etc::PreferencesParts": "/dev/null",
            "Dir::State": root / "state",
            "Dir::State::Lists": root / "lists",
            "Dir::State::Status": root / "status",
            "Dir::Cache": root / "cache",
            "Acquire::Languages": "none",
            "Acquire::Retries": "1",
            "Acquire::http::Timeout": "15",
            "Acquire::https::Timeout": "15",
            "APT::Architectures": _architecture(self._work),
            "APT::Status-Fd": "1",
        }
        if os.geteuid() == 0:
            # The user that apt changes to as root cannot read the store of every root.
            options["APT::Sandbox::User"] = "root"
        flags = [word for name, value in options.items() for word in ("-o", f"{name}={value}")]
        # Reaped: an apt that outlived its harness would hold the lock of the root that the next run uses.
        done = run(
            (tool, "-q", *flags, *words),
            deadline=self._work.deadline,
            cwd=cwd,
            on_line=self._show,
            allowed=allowed,
            merge_errors=merge,
            reaped=True,
        )
        return done.output

    def _show(self, line: str) -> None:
        if match := _STATUS.match(line):
            self._work.progress.advance(int(float(match[1])), 100, "%")

    def _update(self) -> str:
        """Refreshes the lists; the first complaint of a suite that could not be read, or ''."""
        self._work.progress.step("reading the package lists of the Debian mirror")
        # 100: a suite could not be read. Which ones could is in the output.
        lines = self._run("apt-get", "update", allowed=(0, 100)).splitlines()
        reached = any(line.startswith(("Hit:", "Get:")) and "Release" in line for line in lines)
        complaints = [line[3:].strip() for line in lines if line.startswith(("E: ", "W: "))]
        if not reached:
            why = complaints[0] if complaints else "apt-get update got nothing"
            raise InfraError(
                f"the Debian mirror cannot be reached: {why}",
                hint="look at the network, the proxy and the host's apt sources, then try again",
            )
        return complaints[0] if complaints else ""

    def _offers(self) -> list[PackageOffer]:
        names = sorted(
            set(filter(_PACKAGE.fullmatch, self._run("apt-cache", "pkgnames", "linux-", merge=False).split()))
        )
        if not names:
            return []
        return parse_offers(self._run("apt-cache", "show", "--all-versions", *names, merge=False))


def parse_offers(text: str) -> list[PackageOffer]:
    """The stanzas of `apt-cache show`; what has no hash is of no use here."""
    offers: dict[tuple[str, str], PackageOffer] = {}
    for stanza in text.split("\n\n"):
        pairs = (line.partition(": ") for line in stanza.splitlines() if line[:1].strip())
        fields = {name: value.strip() for name, _, value in pairs}
        words = [fields.get(name, "") for name in ("Package", "Version", "SHA256", "Size")]
        if all(words) and whole_number(words[3]):
            package, version, sha256, size = words
            offers.setdefault((package, version), PackageOffer(package, version, sha256, whole_number(size)))
    return list(offers.values())


def _explain(offer: PackageOffer, said: str) -> InfraError:
    """What apt-get download meant."""
    lines = [line for line in said.splitlines() if line.startswith(("E: ", "W: ", "Err:"))]
    last = lines[-1].removeprefix("E: ") if lines else "apt-get download failed"
    what = f"{offer.package} {offer.version}"
    if "Hash Sum mismatch" in said or "unexpected size" in said:
        return InfraError(
            f"checksum mismatch: {what} is not what the mirror's lists describe", hint="try again later"
        )
    if _NOT_FOUND.search(said) or any(words in said for words in _NO_SUCH_VERSION):
        return Gone(f"the mirror does not have {what} any more", hint="try again: the lists will be read anew")
    if "enough free space" in said or "No space left" in said:
        return no_space(f"downloading {what}")
    return InfraError(f"cannot download {what}: {last}", hint="look at the network and the proxy, then try again")


def _architecture(work: Work) -> str:
    """The host's own alone, or every foreign one would be fetched too."""
    return run(("dpkg", "--print-architecture"), deadline=work.deadline).output.strip()
