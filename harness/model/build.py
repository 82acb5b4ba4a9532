# SPDX-License-Identifier: GPL-2.0-only
"""From fragments to an image: what was asked for, what came out, and the build that carries it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from harness.model.arch import guest_arch
from harness.model.tree import Tree

DEFAULT_PROFILE = "lean"  # of kernel-configs/, where none is named


@dataclass(frozen=True, slots=True)
class ConfigOption:
    """One line of a fragment: `symbol` without CONFIG_, `value` as .config writes it (`n` for `is not set`)."""

    symbol: str
    value: str
    fragment: str
    line: int

    @property
    def config_line(self) -> str:
        if self.value == "n":
            return f"# CONFIG_{self.symbol} is not set"
        return f"CONFIG_{self.symbol}={self.value}"


@dataclass(frozen=True, slots=True)
class Fragment:
    """A file of kernel-configs/, parsed. `name` is its stem."""

    name: str
    asks: tuple[ConfigOption, ...]


@dataclass(frozen=True, slots=True)
class Profile:
    """A named list of fragments on top of allnoconfig. `slowness`: how many times slower than the profile lean its
    kernels boot and run; the limits of a guest are longer by so much.
    """

    name: str
    fragments: tuple[Fragment, ...]
    slowness: float = 1.0


@dataclass(frozen=True, slots=True)
class Unmet:
    """An ask that did not come out, and why as far as Kconfig tells."""

    ask: ConfigOption
    got: str
    why: str


@dataclass(frozen=True, slots=True)
class Config:
    """A resolved .config: every ask of the profile was met. `text` is the whole file, `id` its sha256."""

    id: str
    profile: str
    text: str
    dropped: tuple[ConfigOption, ...] = ()


@dataclass(frozen=True, slots=True)
class CompilerWarning:
    """One compiler warning, identified by file and text; the line number is for people."""

    file: str
    line: int
    text: str


@dataclass(frozen=True, slots=True)
class Build:
    """A kernel that was built. `id` hashes tree, config, compiler and make variables (64 hex digits).

    `path` holds the image, `System.map`, `config`, `build.log` and `modules/lib/modules/RELEASE`; `objects` is
    the object directory for out-of-tree modules. `seconds` and `steps` are what make took; with `seeded` it began
    with the objects of another build.
    """

    id: str
    tree: Tree
    profile: str
    config_id: str
    compiler: str
    release: str
    path: Path
    objects: Path
    warnings: tuple[CompilerWarning, ...] = ()
    seconds: float = 0.0
    steps: int = 0
    seeded: bool = False

    @property
    def image(self) -> Path:
        return self.path / guest_arch().image

    @property
    def config_path(self) -> Path:
        return self.path / "config"

    @property
    def modules(self) -> Path:
        """The directory to mount on /lib/modules in the guest."""
        return self.path / "modules" / "lib" / "modules"
