# SPDX-License-Identifier: GPL-2.0-only
"""The subjects and their suites: of harness/subjects, of installed packages, and of folders that a user names."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import cache
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path

from harness.model.errors import UserError
from harness.model.figure import Figure
from harness.model.subject import Subject
from harness.model.suite import Requirement, Suite, whole_globs
from harness.suites.descriptor import SUBJECT_FILE, SUITE_FILE, read_subject

SHIPPED = Path(__file__).parent.parent / "subjects"
ENTRY_POINTS = "ttm_harness.subjects"


class Registry:
    """Subjects by their names, and all their suites; a folder that is named is added to it."""

    def __init__(self, subjects: Iterator[Subject]) -> None:
        self.subjects: dict[str, Subject] = {}
        self.suites: dict[str, Suite] = {}
        for subject in subjects:
            self.add(subject)

    def add(self, subject: Subject) -> None:
        """UserError for a name that is taken, unless the very folder is known."""
        for suite in subject.suites:
            known = self.suites.get(suite.name)
            if known is not None and known.folder != suite.folder:
                raise UserError(
                    f"there are two suites of the name {suite.name}: {known.folder}, {suite.folder}",
                    hint="a suite is called as its folder is: rename yours",
                )
        self.subjects[str(subject.folder)] = subject
        self.suites.update((suite.name, suite) for suite in subject.suites)

    def named(self, name: str) -> Suite:
        """The suite of that name, or in that folder when it is written as a path; UserError lists those there are."""
        if "/" in name:
            path = Path(name).absolute()
            subject = read_subject(path.parent if _is_part(path) else path)
            found = [suite for suite in subject.suites if path in (suite.folder, subject.folder)]
            if len(found) != 1:
                inside = ", ".join(f"{name.rstrip('/')}/{suite.name}" for suite in found)
                raise UserError(f"{name} is a subject with {len(found)} suites", hint=inside or "put one into it")
            self.add(subject)
            return found[0]
        if name not in self.suites:
            raise UserError(
                f"there is no suite {name!r}",
                hint=f"suites: {', '.join(self.suites)}; one of your own is a folder: ./{name}",
            )
        return self.suites[name]

    def word_for(self, name: str) -> str:
        """How the suite is named where it is written down: a folder of the user's by its whole path, so that it is
        found from anywhere.
        """
        suite = self.named(name)
        return str(suite.folder) if "/" in name else suite.name


def _is_part(path: Path) -> bool:
    """Whether the folder is a suite of the subject that it lies in."""
    return (path / SUITE_FILE).is_file() and (path.parent / SUBJECT_FILE).is_file()


@cache
def registry() -> Registry:
    """What is shipped, and what installed packages bring."""
    return Registry(_found())


def _found() -> Iterator[Subject]:
    for path in sorted(SHIPPED.glob(f"*/{SUBJECT_FILE}")):
        yield read_subject(path.parent)
    for entry in sorted(entry_points(group=ENTRY_POINTS), key=lambda entry: entry.name):
        yield read_subject(_folder_of(entry.name, entry.value))


def _folder_of(name: str, module: str) -> Path:
    """Where an installed package has its subject; nothing of the package is imported."""
    try:
        spec = find_spec(module)
    except ImportError as error:
        raise UserError(f"the subject {name} cannot be found: {error}", hint=f"is {module} a package?") from error
    places = list(spec.submodule_search_locations or ()) if spec is not None else []
    if not places:
        raise UserError(
            f"the subject {name} cannot be found: {module} is no package", hint="reinstall what brings it"
        )
    return Path(places[0])


def suite_named(name: str) -> Suite:
    """The suite; UserError lists the names there are."""
    return registry().named(name)


def figures_said(suites: Iterable[str]) -> dict[str, tuple[Figure, ...]]:
    """What these suites say of their figures, those that are (still) there."""
    known = registry().suites
    return {name: known[name].figures for name in suites if name in known}


def quick_suites() -> tuple[str, ...]:
    """What runs when nobody names a suite: first those that share a boot."""
    chosen = [suite for suite in registry().suites.values() if suite.quick]
    return tuple(suite.name for suite in sorted(chosen, key=lambda suite: not suite.shares_boot))


def subject_of(suite: Suite) -> Subject:
    """The subject that the suite belongs to."""
    return next(one for one in registry().subjects.values() if suite.name in {each.name for each in one.suites})


def narrowed(suite: Suite, cases: tuple[str, ...]) -> Suite:
    """The suite when only the cases that match these globs are run: each glob must then have been executed, and
    what of the manifest matches.

    UserError when the suite can only be run whole.
    """
    if not cases:
        return suite
    if not suite.selectable:
        able = ", ".join(one.name for one in registry().suites.values() if one.selectable)
        raise UserError(f"the suite {suite.name} can only be run whole", hint=f"--case is for: {able}")
    # One that begins with ! takes cases away: nothing of it must run.
    if not suite.is_igt and (without := [glob for glob in cases if glob.startswith("!")]):
        raise UserError(
            f"the suite {suite.name} cannot leave out what {without[0]} says",
            hint="only the igt suites can; name the cases that are to run",
        )
    globs = whole_globs(suite, tuple(glob for glob in cases if not glob.startswith("!")))
    if not globs:
        return suite
    if suite.is_igt:  # a test that is named means its subtests, as in the guest
        globs = tuple(glob if "@" in glob else f"{glob}*" for glob in globs)
    manifest = suite.manifest
    if manifest is not None:
        # What is no case of a kunit suite (`unload`) is run with every part.
        always = (one for one in manifest.cases if "." not in one.name)
        listed = (
            *(one for one in manifest.cases if any(fnmatch.fnmatchcase(one.name, glob) for glob in globs)),
            *always,
        )
        manifest = replace(manifest, cases=listed)
    return replace(suite, requirements=tuple(Requirement(glob, 1) for glob in globs), manifest=manifest)
