# SPDX-License-Identifier: GPL-2.0-only
"""Where everything lies.

STORE/
  sources/NAME-HASH/            unpacked trees, read-only, shared
  downloads/                    archives that are being fetched or were
  objects/KEY/                  object directories of make, one a (tree, profile, compiler)
  builds/ID/                    finished builds: bzImage, config, modules, build.json
  roots/HASH/                   guest root file systems
  runs/DATE-ID/                 run directories
  index.sqlite                  what is in them, to be asked; made anew from them at any time
  id                            what tells this store from another
  locks/                        who is at work on what
  scratch/                      what a process at work needs for the moment
  damaged/                      what was not any more what was made: set aside, for somebody to look at
  trash/                        what is being removed
  host.json                     what was learned about this host (KVM, times of builds)

Builds, object directories, roots and the boots of runs have a `.seal` inside: the hashes of their files (sealed.py).
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from harness.model.errors import UserError


@dataclass(frozen=True, slots=True)
class Layout:
    """The store's root and what hangs below it."""

    root: Path

    @classmethod
    def from_environment(cls) -> Layout:
        """TTM_HARNESS_STORE, else XDG_CACHE_HOME/ttm-harness, else ~/.cache/ttm-harness."""
        named = os.environ.get("TTM_HARNESS_STORE")
        if named:
            root = Path(named)
        else:
            cache = os.environ.get("XDG_CACHE_HOME")
            root = (Path(cache) if cache else Path.home() / ".cache") / "ttm-harness"
        root = root.expanduser().absolute()
        try:
            root.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(
                f"the store {root} cannot be made: {error.strerror}",
                hint="name another place with TTM_HARNESS_STORE",
            ) from error
        if not os.access(root, os.W_OK):
            raise UserError(f"the store {root} cannot be written", hint="name another place with TTM_HARNESS_STORE")
        return cls(root)

    def _below(self, name: str) -> Path:
        path = self.root / name
        path.mkdir(parents=True, exist_ok=True)
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
    def roots(self) -> Path:
        return self._below("roots")

    @property
    def runs(self) -> Path:
        return self._below("runs")

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
    def host_file(self) -> Path:
        return self.root / "host.json"
