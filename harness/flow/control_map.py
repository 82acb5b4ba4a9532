# SPDX-License-Identifier: GPL-2.0-only
"""What kept runs of `controls` told: control -> functions -> the cases that turned red, in the subject's folder."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from harness.flow.controls import Detection, control_set, read_controls
from harness.model.codec import from_json
from harness.model.errors import HarnessError, UserError
from harness.model.presubmit import CONTROL_MAP_SCHEMA, ControlMap, ControlSight
from harness.model.suite import Suite
from harness.model.tree import version_tuple
from harness.store.files import read_regular
from harness.store.layout import Layout
from harness.store.runs import STAMP
from harness.suites.registry import registry

MAP_FILE = "seen.json"
OUTCOMES_FILE = "controls.json"
_LARGEST = 64 << 20


def map_of(suite: Suite, layout: Layout) -> ControlMap:
    """What kept runs tell of the suite's controls on the newest of their kernels, beside what the map that is there
    knows of that kernel from other stores; UserError when runs tell nothing.
    """
    controls = read_controls(control_set(suite).folder)
    told = [one for one in _outcomes(layout) if any(_cases(suite, row) for row in one.rows)]
    if not told:
        raise UserError(
            f"no kept run tells of controls of {suite.name}", hint=f"ttm-harness controls --suite {suite.name}"
        )
    kernel = max((one.kernel for one in told), key=version_tuple)
    rows = [(one, row) for one in told if one.kernel == kernel for row in one.rows]
    before = next((one for one in kept_maps() if (one.suite, one.kernel) == (suite.name, kernel)), None)
    known = {(one.control, one.functions): one.red for one in before.controls} if before is not None else {}
    listed = {case.name for case in suite.manifest.cases} if suite.manifest is not None else set()
    sights = []
    for control in controls:
        red = {case for _, row in rows if row.get("name") == control.name for case in _cases(suite, row)}
        red |= listed & set(known.get((control.name, control.functions), ()))
        if red and not control.neutral:
            sights.append(ControlSight(control.name, control.functions, tuple(sorted(red))))
    seen = {one.control for one in sights}
    return ControlMap(
        schema=CONTROL_MAP_SCHEMA,
        suite=suite.name,
        kernel=kernel,
        date=max(*(one.day for one, _ in rows), before.date if before is not None else ""),
        controls=tuple(sights),
        unseen=tuple(one.name for one in controls if not one.neutral and one.name not in seen),
    )


def kept_maps() -> tuple[ControlMap, ...]:
    """The maps in the subjects' folders. StoreCorrupt for one that cannot be read."""
    found = []
    for subject in registry().subjects.values():
        file = subject.controls.folder / MAP_FILE if subject.controls is not None else None
        if file is not None and file.is_file():
            found.append(from_json(ControlMap, read_regular(file, _LARGEST).decode("utf-8"), str(file)))
    return tuple(found)


class _Outcomes:
    """The rows of a kept run of `controls`."""

    def __init__(self, directory: Path) -> None:
        plain = json.loads(read_regular(directory / OUTCOMES_FILE, _LARGEST))
        self.kernel = str(plain["kernel"])
        self.rows = [row for row in plain["controls"] if isinstance(row, dict)]
        when = datetime.strptime(directory.name.partition("-")[0], STAMP).replace(tzinfo=UTC)
        self.day = when.date().isoformat()


def _outcomes(layout: Layout) -> Iterator[_Outcomes]:
    """Of all names of runs: what tests saw is as true."""
    for file in sorted(layout.root.glob(f"*runs/*/{OUTCOMES_FILE}")):
        try:
            yield _Outcomes(file.parent)
        except (OSError, ValueError, KeyError, TypeError, HarnessError):
            continue  # cut off, or of another harness


def _cases(suite: Suite, row: dict[str, object]) -> frozenset[str]:
    """The cases of the suite's list that turned red, the parameter of a case left out."""
    red = row.get("cases")
    if suite.manifest is None or row.get("noticed") != str(Detection.CAUGHT) or not isinstance(red, list):
        return frozenset()
    names = {name: case.name for case in suite.manifest.cases for name in (case.name, *case.names)}
    return frozenset(names[one] for one in red if one in names)
