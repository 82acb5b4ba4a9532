# SPDX-License-Identifier: GPL-2.0-only
"""Kept runs -> the manifests of their suites: what `ttm-harness results manifest` does."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.checkout import data_directory
from harness.flow.deadlines import REFERENCE_READY_SECONDS
from harness.flow.observe import read_announced
from harness.flow.run_loader import read_report
from harness.judge.listing import Changed, SuiteBoot, updated
from harness.kernel.fragments import read_profile
from harness.model.outcome import Ending, Outcome
from harness.model.result import Case, Provenance, Report, Run
from harness.model.suite import Suite
from harness.model.tree import version_tuple
from harness.store.files import write_atomically
from harness.suites.manifest import MANIFEST_FILE, manifest_text
from harness.suites.registry import registry, suite_named


@dataclass(frozen=True, slots=True)
class Offer:
    """The boots of one suite that can be learned from, and sentences for those that cannot."""

    sightings: Mapping[str, tuple[SuiteBoot, ...]]
    passed_over: tuple[str, ...]


def offers(directories: Sequence[Path], wanted: Sequence[str] = ()) -> Offer:
    """What the runs know of the suites that have a manifest, or of those that are named."""
    found: dict[str, list[SuiteBoot]] = {}
    passed_over: list[str] = []
    for directory in directories:
        report = read_report(directory)
        for run in report.runs:
            for suite in _suites(run, wanted):
                said = _sighting(report, run, suite, directory)
                if isinstance(said, SuiteBoot):
                    found.setdefault(suite.name, []).append(said)
                else:
                    passed_over.append(f"{run.id}, {suite.name}: {said}")
    return Offer({name: tuple(seen) for name, seen in found.items()}, tuple(passed_over))


def renewed(name: str, sightings: Sequence[SuiteBoot], drop: bool) -> Changed:
    suite = suite_named(name)
    assert suite.manifest is not None
    return updated(suite.manifest, sightings, suite.brings is not None, drop)


def write_manifest(changed: Changed) -> Path:
    path = suite_named(changed.manifest.suite).folder / MANIFEST_FILE
    write_atomically(path, manifest_text(changed.manifest))
    return path


def _suites(run: Run, wanted: Sequence[str]) -> Iterator[Suite]:
    for name in run.cell.suites:
        suite = registry().suites.get(name)
        if suite is not None and suite.manifest is not None and (not wanted or name in wanted):
            yield suite


def _sighting(report: Report, run: Run, suite: Suite, directory: Path) -> SuiteBoot | str:
    """What a boot saw of a suite, or why nothing can be learned from it."""
    cases = tuple(case for case in report.cases if case.run == run.id and case.suite == suite.name)
    if run.ending is not Ending.FINISHED or run.problems or run.differences:
        return "it is invalid"
    if run.cell.knobs or run.cell.cases != suite.cases:
        return "it did not run the whole suite as it is"
    if bad := _not_good(cases):
        return f"{bad.name} is {bad.outcome}"
    announced = read_announced(directory / run.directory / "results" / f"{suite.name}.announced")
    if not announced:
        return "its list of cases is not there"
    where = _kernel(report, run)
    profile = read_profile(where.profile.split("+")[0], data_directory("kernel-configs"))
    ready = next((stage.seconds for stage in run.stages if stage.name == "ready"), 0.0)
    slowness = max(1.0, ready / (REFERENCE_READY_SECONDS * profile.slowness)) * profile.slowness
    version = version_tuple(where.tree_version)[:2]
    return SuiteBoot(version, run.cell.machine.swap.size > 0, announced, cases, slowness)


def _not_good(cases: Sequence[Case]) -> Case | None:
    """A case for whose sake the boot is no model; one that is absent or new is what is to be learned."""
    return next((case for case in cases if case.outcome.finding or case.outcome is Outcome.INCOMPLETE), None)


def _kernel(report: Report, run: Run) -> Provenance:
    """The kernel that a boot ran."""
    known = (report.provenance, *((report.base,) if report.base is not None else ()), *report.kernels)
    return next((one for one in known if one.build_id == run.cell.build_id), report.provenance)
