# SPDX-License-Identifier: GPL-2.0-only
"""Where everything lies.

STORE/
  sources/NAME-HASH/            unpacked trees, read-only, shared; `files` lists what is in them (source_seal.py)
  downloads/                    archives that are being fetched or were
  objects/KEY/                  object directories of make, one a (tree, profile, compiler); kept-KEY is
                                that of a module, for all kernels of a version
  listings/ID/                  the names of the cases that suites have on that build
  builds/ID/                    finished builds: the image, config, modules, build.json
  roots/HASH/                   guest root file systems
  parcels/ID/                   builds, modules and roots that another host sent, by the id of their seal
  searches/ID/                  what a search noted beside its runs, and its report
  runs/DATE-ID/                 run directories; with TTM_HARNESS_RUNS=NAME-runs in NAME-runs/, and an index apart
  nightly/NAME/                 what a nightly has seen and done, the series it found, its summaries
  history/KEY.json              what came of each bug of the past that was put back (`ttm-harness history`)
  index.sqlite                  what is in them, to be asked; made anew from them at any time
  id                            what tells this store from another
  locks/                        who is at work on what
  scratch/                      what a process at work needs for the moment
  trash/                        what is being removed
  damaged/                      what was set aside because it was not what it should have been
  ccache-N/                     the compiler's cache
  host.json                     what was learned about this host (KVM, times of builds)

Builds, object directories, roots and the boots of runs have a `.seal` inside: the hashes of their files (sealed.py).
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from harness.model.errors import InfraError, UserError

_ANOTHER = "name another place with TTM_HARNESS_STORE"
RUNS = "runs"
_NAME = re.compile(r"[a-z][a-z0-9-]{0,31}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Layout:
    """The store's root and what hangs below it."""

    root: Path
    written: bool = True  # else nothing is ever made in it: it may be somebody else's
    runs_name: str = RUNS

    @classmethod
    def from_environment(cls, named: str = "") -> Layout:
        """The directory that is named, else TTM_HARNESS_STORE, XDG_CACHE_HOME/ttm-harness, ~/.cache/ttm-harness."""
        root = _root(named)
        try:
            root.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"the store {root} cannot be made: {error.strerror}", hint=_ANOTHER) from error
        if not os.access(root, os.W_OK):
            raise UserError(f"the store {root} cannot be written", hint=_ANOTHER)
        return cls(root, runs_name=_runs_name())

    @classmethod
    def to_read(cls) -> Layout:
        """The same for verbs that only read: of a store that is read-only or somebody else's, too."""
        root = _root()
        if not root.exists():
            return cls.from_environment()
        if not root.is_dir() or not os.access(root, os.R_OK | os.X_OK):
            raise UserError(f"the store {root} cannot be read", hint=_ANOTHER)
        return cls(root, os.access(root, os.W_OK), _runs_name())

    def _below(self, name: str) -> Path:
        path = self.root / name
        if self.written:
            try:
                path.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise InfraError(f"{path} cannot be made: {error.strerror}", hint=_ANOTHER) from error
        return path

    @property
    def sources(self) -> Path:
        return self._below("sources")

    @property
    def downloads(self) -> Path:
        return self._below("downloads")

    @property
    def objects(self) -> Path:
        return self._below("objects")

    @property
    def builds(self) -> Path:
        return self._below("builds")

    @property
    def listings(self) -> Path:
        return self._below("listings")

    @property
    def roots(self) -> Path:
        return self._below("roots")

    @property
    def parcels(self) -> Path:
        return self._below("parcels")

    @property
    def searches(self) -> Path:
        return self._below("searches")

    @property
    def runs(self) -> Path:
        return self._below(self.runs_name)

    @property
    def history(self) -> Path:
        return self._below("history")

    @property
    def damaged(self) -> Path:
        return self._below("damaged")

    @property
    def scratch(self) -> Path:
        return self._below("scratch")

    @property
    def locks(self) -> Path:
        return self._below("locks")

    @property
    def nightly(self) -> Path:
        return self._below("nightly" if self.runs_name == RUNS else f"nightly-{self.runs_name}")

    @property
    def index_file(self) -> Path:
        return self.root / (f"index-{self.runs_name}.sqlite" if self.runs_name != RUNS else "index.sqlite")

    @property
    def id_file(self) -> Path:
        return self.root / (f"id-{self.runs_name}" if self.runs_name != RUNS else "id")

    @property
    def host_file(self) -> Path:
        return self.root / "host.json"


def _runs_name() -> str:
    """TTM_HARNESS_RUNS, else `runs`: runs that are not to be found among the others, on the same kernels."""
    name = os.environ.get("TTM_HARNESS_RUNS") or RUNS
    if not _NAME.fullmatch(name) or (name != RUNS and not name.endswith(f"-{RUNS}")):
        raise UserError(f"TTM_HARNESS_RUNS: {name!r} is no name for runs", hint="a word and -runs, as in test-runs")
    return name


def _root(named: str = "") -> Path:
    named = named or os.environ.get("TTM_HARNESS_STORE", "")
    cache = os.environ.get("XDG_CACHE_HOME")
    try:
        root = Path(named) if named else (Path(cache) if cache else Path.home() / ".cache") / "ttm-harness"
        return root.expanduser().absolute()
    except (RuntimeError, OSError) as error:  # a user without a home, ~nosuch, a working directory that is gone
        raise UserError(f"there is no telling where the store is: {error}", hint=_ANOTHER) from error
