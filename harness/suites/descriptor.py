# SPDX-License-Identifier: GPL-2.0-only
"""A folder -> the subject that it describes, with its suites. harness/subjects/README.md is the contract."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from harness.checkout import data_directory
from harness.model.errors import UserError
from harness.model.features import FEATURES_FILE, Feature, read_features
from harness.model.root import RootKind, RootSpec
from harness.model.subject import Branch, ControlSet, SplatSet, Subject
from harness.model.suite import (
    ExpectedFailure,
    ExpectedSplat,
    KnobForm,
    KnobSpec,
    Proof,
    Requirement,
    SkipReason,
    Suite,
)
from harness.model.toml import NEVER, read_toml, structure, text_of, to_table
from harness.model.units import parse_size
from harness.suites.figures import FigureRow, figures_of
from harness.suites.manifest import read_manifest

SUBJECT_FILE = "subject.toml"
SUITE_FILE = "suite.toml"
_RUNNER = "run"
SHARED_RUNNERS = ("exec", "igt-runner", "kunit", "selftests")  # guest-scripts/suite-*
_TARGET = re.compile(r"[a-zA-Z0-9][\w-]*(?:/[a-zA-Z0-9][\w-]*){0,3}", re.ASCII)
_DEVICE = re.compile(r"[a-zA-Z][\w.-]*(?:,[a-zA-Z][\w.-]*=[\w.-]+)*", re.ASCII)
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}", re.ASCII)


@dataclass(frozen=True, slots=True)
class _Knob:
    """A bound of a size is written as one, the others as numbers."""

    form: KnobForm
    meaning: str
    least: int | str = 0
    most: int | str = 0
    choices: tuple[str, ...] = ()
    needs: str = ""
    cases: tuple[str, ...] = ()
    chooses: bool = False


@dataclass(frozen=True, slots=True)
class _SuiteFile:
    """The keys of suite.toml; those of `Suite` by the same name mean the same."""

    title: str
    symbols: tuple[str, ...]
    profile: str
    deadline: float
    extends: str = ""
    runner: str = ""
    arguments: tuple[str, ...] = ()
    quick: bool = False
    shares_boot: bool = False
    module: str = ""
    overlay: str = ""
    selftests: tuple[str, ...] = ()
    sample_ms: int = 0
    stats: str = ""
    figures: dict[str, FigureRow] = field(default_factory=dict)
    bad_disk: bool = False
    devices: tuple[str, ...] = ()
    selectable: bool = False
    announces: bool = True
    about: str = ""
    root: str = "busybox"
    cases: tuple[str, ...] = ()
    knob_cases: tuple[str, ...] = ()
    floor: tuple[Requirement, ...] = ()
    knobs: dict[str, _Knob] = field(default_factory=dict)
    expected_splats: tuple[ExpectedSplat, ...] = ()
    expected_failures: tuple[ExpectedFailure, ...] = ()
    proof: tuple[Proof, ...] = ()
    skip_reason: tuple[SkipReason, ...] = ()


@dataclass(frozen=True, slots=True)
class _Controls:
    suite: str
    driver: str = ""
    module: str = ""
    sources: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _SubjectFile:
    """The keys of subject.toml."""

    title: str
    branch: tuple[Branch, ...] = ()
    controls: _Controls | None = None
    splats: tuple[SplatSet, ...] = ()
    memory: str = ""
    types: str = ""


def read_subject(folder: Path) -> Subject:
    """The subject in a folder with a subject.toml, or with a suite.toml alone: then that suite is all of it.

    UserError names the file, the line and the mistake.
    """
    folder = folder.absolute()
    if not (folder / SUBJECT_FILE).is_file():
        if not (folder / SUITE_FILE).is_file():
            raise UserError(
                f"{folder} has no {SUITE_FILE} and no {SUBJECT_FILE}",
                hint="harness/subjects/README.md says what a suite's folder holds",
            )
        name = _name_of(folder)
        return Subject(name, "", folder, (_suite(folder, name, {folder.name: folder}),))
    name = _name_of(folder)
    told = read_toml(_SubjectFile, folder / SUBJECT_FILE)
    return Subject(
        name,
        told.title,
        folder,
        tuple(_suites(folder, name)),
        told.branch,
        ControlSet(folder / "controls", **asdict(told.controls)) if told.controls is not None else None,
        tuple(sorted((folder / "tools").glob("*.c"))),
        told.splats,
        _python(folder, told.memory),
        _types(folder, told),
    )


def _python(folder: Path, name: str) -> Path | None:
    """A file, or the first one of a package."""
    if not name:
        return None
    found = folder / name / "__init__.py" if (folder / name).is_dir() else folder / name
    if found.suffix != ".py" or not found.is_file() or not _is_below(name):
        raise UserError(
            f"{folder / SUBJECT_FILE}: memory: there is no Python file {name} beside it", hint="nor such a package"
        )
    return found


def _types(folder: Path, told: _SubjectFile) -> Path | None:
    if told.types and not told.memory:
        raise UserError(f"{folder / SUBJECT_FILE}: types: nothing reads with them", hint='memory = "FILE.py"')
    return _inside(folder, told.types, folder / SUBJECT_FILE)


def _suites(folder: Path, subject: str) -> Iterator[Suite]:
    folders = {path.parent.name: path.parent for path in sorted(folder.glob(f"*/{SUITE_FILE}"))}
    for place in folders.values():
        yield _suite(place, subject, folders)


def _suite(place: Path, subject: str, folders: Mapping[str, Path]) -> Suite:
    name, path = _name_of(place), place / SUITE_FILE
    if name in SHARED_RUNNERS:
        raise UserError(f"{place}: a runner of the harness is called {name}", hint="rename the folder")
    table, owner = _extended(place, folders, ())
    told = structure(_SuiteFile, table, text_of(path), str(path))
    if told.runner and told.runner not in SHARED_RUNNERS:
        raise UserError(f"{path}: there is no runner {told.runner!r}", hint=f"one of {', '.join(SHARED_RUNNERS)}")
    # One that extends another may run something of its own on the other's sources.
    home = place if (place / _RUNNER).is_file() else owner
    runner = None if told.runner else home / _RUNNER
    if runner is not None and not runner.is_file():
        raise UserError(
            f"{path}: nothing says what runs in the guest",
            hint=f'a script `{_RUNNER}` beside it, or runner = "kunit"',
        )
    manifest = read_manifest(name, place)
    # Without a manifest of its own it may skip what the one that it extends may.
    skips = manifest or (read_manifest(owner.name, owner) if owner != place else None)
    required = (*told.floor, *(manifest.floors if manifest is not None else ()))
    if not required and (manifest is None or not manifest.cases):
        raise UserError(
            f"{path}: nothing says what must have run, and a suite that runs nothing would be good",
            hint="a [[floor]] in it, or a manifest.toml beside it",
        )
    module = _inside(owner, told.module, path)
    overlay = _inside(place if (place / (told.overlay or ".")).is_dir() else owner, told.overlay, path)
    features = _features(place, owner, module, overlay)
    words = (*told.proof, *told.skip_reason, *(skips.skips if skips is not None else ()))
    entries = (*required, *told.expected_failures, *words)
    for entry in (*entries, *(manifest.cases if manifest is not None else ())):
        _known(entry.has, features, path)
        _known(entry.lacks, features, path)
    for failure in told.expected_failures:
        _require_due(_known(failure.lacks, features, path), path)
    return Suite(
        name=name,
        title=told.title,
        subject=subject,
        folder=place,
        script=f"suite-{told.runner or home.name}",
        runner=runner,
        arguments=told.arguments,
        symbols=told.symbols,
        requirements=required,
        shares_boot=told.shares_boot,
        deadline=told.deadline,
        profile=told.profile,
        quick=told.quick,
        expected_splats=told.expected_splats,
        needs_module=module,
        needs_overlay=overlay,
        selftests=_selftests(told, path),
        knobs=tuple(_knob(key, one, path) for key, one in told.knobs.items()),
        sample_ms=told.sample_ms,
        stats=told.stats,
        figures=figures_of(told.figures, text_of(path), str(path)),
        bad_disk=told.bad_disk,
        devices=_devices(told, path),
        may_skip=skips.skips if skips is not None else None,
        selectable=told.selectable,
        knob_cases=told.knob_cases,
        expected_failures=told.expected_failures,
        proofs=told.proof,
        skip_reasons=told.skip_reason,
        cases=told.cases,
        manifest=manifest,
        announces=told.announces,
        features=features,
        about=_known(told.about, features, path),
        root=_root(told.root, path),
    )


def _root(text: str, path: Path) -> RootSpec:
    """Busybox or one of Debian: what another host has, too."""
    try:
        root = RootSpec.parse(text)
    except UserError as error:
        raise UserError(f"{path}: root: {error.message}", hint=error.hint) from error
    if root.kind not in (RootKind.BUSYBOX, RootKind.DEBIAN):
        raise UserError(f"{path}: root: a suite's root is busybox or debian:…, and not {text!r}")
    return root


def _features(place: Path, owner: Path, module: Path | None, overlay: Path | None) -> tuple[Feature, ...]:
    """What the suite's own table has, and those of its sources; a module's shared files have one, too."""
    shared = data_directory("guest-scripts") / "module" if module is not None else None
    folders = dict.fromkeys(one for one in (place, owner, module, overlay, shared) if one is not None)
    return tuple(feature for folder in folders for feature in read_features(folder))


def _devices(told: _SuiteFile, path: Path) -> tuple[str, ...]:
    if wrong := [words for words in told.devices if not _DEVICE.fullmatch(words)]:
        raise UserError(
            f"{path}: {wrong[0]!r} is no device of QEMU's",
            hint='as after -device: a name, and maybe properties, as in "usb-tablet,usb_version=1"',
        )
    return told.devices


def _selftests(told: _SuiteFile, path: Path) -> tuple[str, ...]:
    if wrong := [target for target in told.selftests if not _TARGET.fullmatch(target)]:
        raise UserError(f"{path}: {wrong[0]!r} is no target of tools/testing/selftests", hint="as in TARGETS=mm")
    if told.selftests and (told.module or told.overlay):
        raise UserError(f"{path}: selftests and modules of its own are two suites", hint="one of them in a suite")
    if bool(told.selftests) is not (told.runner == "selftests"):
        raise UserError(f'{path}: selftests and runner = "selftests" belong together')
    return told.selftests


def _known(name: str, features: tuple[Feature, ...], path: Path) -> Feature | None:
    if not name:
        return None
    found = next((one for one in features if one.define == name), None)
    if found is None:
        raise UserError(
            f"{path}: there is no feature {name!r}",
            hint=f"in a {FEATURES_FILE}: {', '.join(one.define for one in features) or 'there is none'}",
        )
    return found


def _require_due(lacked: Feature | None, path: Path) -> None:
    """UserError for a feature whose lack excuses a failure, when no version is said that must have it."""
    if lacked is not None and lacked.since == NEVER:
        raise UserError(
            f"{path}: {lacked.define} has no `since`: where its words are no longer the tree's, a failure would be "
            "excused on every kernel",
            hint=f"since = the first version that has it, in the {FEATURES_FILE}",
        )


def _extended(place: Path, folders: Mapping[str, Path], seen: tuple[str, ...]) -> tuple[dict[str, Any], Path]:
    """The table of a suite on top of the one that it extends, and the folder whose sources they are."""
    path = place / SUITE_FILE
    table = to_table(text_of(path), str(path))
    base = table.get("extends", "")
    if not base:
        return table, place
    if base not in folders or base in (*seen, place.name):
        raise UserError(f"{path}: it extends {base!r}, which is no other suite beside it", hint=", ".join(folders))
    below, owner = _extended(folders[base], folders, (*seen, place.name))
    below.pop("quick", None)
    return {**below, **table}, owner


def _knob(name: str, told: _Knob, path: Path) -> KnobSpec:
    try:
        least, most = (parse_size(one) if isinstance(one, str) else one for one in (told.least, told.most))
    except UserError as error:
        raise UserError(f"{path}: knobs.{name}: {error.message}", hint=error.hint) from error
    if told.form is KnobForm.CHOICE:
        if not told.choices:
            raise UserError(f"{path}: knobs.{name}: no value can be chosen", hint="choices = [...]")
    elif not least < most:
        raise UserError(f"{path}: knobs.{name}: no value is from {least} to {most}", hint="least and most bound it")
    return KnobSpec(name, told.form, told.meaning, least, most, told.choices, told.needs, told.cases, told.chooses)


def _inside(owner: Path, name: str, path: Path) -> Path | None:
    if not name:
        return None
    found = owner / name
    if not _is_below(name) or not found.is_dir():
        raise UserError(f"{path}: there is no folder {name} beside it")
    return found


def _is_below(name: str) -> bool:
    return not Path(name).is_absolute() and ".." not in Path(name).parts


def _name_of(folder: Path) -> str:
    if not _NAME.fullmatch(folder.name):
        raise UserError(
            f"{folder} is no name for a suite", hint="a folder's name is the suite's: small letters, digits, dashes"
        )
    return folder.name
