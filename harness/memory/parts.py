# SPDX-License-Identifier: GPL-2.0-only
"""What subjects read in an image, by code of theirs. Where that fails only their part is lost, and it is said."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from functools import partial
from importlib.util import module_from_spec, spec_from_file_location
from types import ModuleType
from typing import TYPE_CHECKING, TypeVar

from harness.model.memory import Part
from harness.model.visible import visible_field

if TYPE_CHECKING:
    from harness.memory.kernel import KernelImage, Object
    from harness.memory.tasks import Counts

T = TypeVar("T")


class Readers:
    """The modules of subjects, by the subjects' names; harness/subjects/README.md says what they define."""

    def __init__(self, paths: Sequence[tuple[str, str]], problems: Sequence[str] = ()) -> None:
        """`problems` are those that are known already."""
        self.modules: dict[str, ModuleType] = {}
        self.problems = list(problems)
        for number, (name, path) in enumerate(paths):
            if name in self.modules:
                self.problems.append(f"there are two subjects of the name {name}: {path} was not asked")
                continue
            module = self._told(name, partial(_module, f"harness_reader_{number}", path))
            if module is not None:
                self.modules[name] = module

    def parts(self, kernel: KernelImage) -> dict[str, Part]:
        """What they say of the image."""
        found = {
            name: self._told(name, partial(_part, module, kernel))
            for name, module in self.modules.items()
            if hasattr(module, "part")
        }
        return {name: part for name, part in found.items() if part is not None}

    def counts(self) -> dict[str, Counts]:
        """What shrinkers count from, by the names of the functions that count."""
        return {
            function: partial(self._counted, name, count)
            for name, module in self.modules.items()
            for function, count in getattr(module, "SHRINKERS", {}).items()
        }

    def _counted(
        self, name: str, count: Counts, kernel: KernelImage, shrinker: Object
    ) -> tuple[tuple[str, int], ...]:
        return self._told(name, lambda: tuple(count(kernel, shrinker))) or ()

    def _told(self, name: str, ask: Callable[[], T]) -> T | None:
        """None where it failed, which is then one of the problems."""
        try:
            return ask()
        except Exception as error:  # whatever somebody else's code may raise
            said = visible_field(f"{type(error).__name__}: {error}")
            self.problems.append(f"what reads the part of {name} failed: {said}")
            return None


def _module(name: str, path: str) -> ModuleType:
    spec = spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is no Python file")
    module = sys.modules[name] = module_from_spec(spec)
    spec.loader.exec_module(module)
    if not hasattr(module, "part") and not hasattr(module, "SHRINKERS"):
        raise ImportError(f"{path} has neither part() nor SHRINKERS")
    return module


def _part(module: ModuleType, kernel: KernelImage) -> Part:
    found = module.part(kernel)
    if not isinstance(found, Part):
        raise TypeError(f"part() gave {type(found).__name__} and not a Part")
    return found
