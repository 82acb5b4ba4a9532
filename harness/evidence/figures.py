# SPDX-License-Identifier: GPL-2.0-only
"""The figures that a case prints among its diagnostics -> metrics. Pure.

Accepted form: `# CASE: name=number`, one to a line, as the runners of suites write them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from harness.model.event import Metric

_FIGURE = re.compile(r"# [\w.-]+: ([a-z]\w*)=(-?\d{1,18}(?:\.\d{1,9})?)")


def figures(diagnostics: Iterable[str]) -> tuple[Metric, ...]:
    """The metrics in the order in which they were printed; a name that comes again counts once, the last time."""
    found: dict[str, float] = {}
    for line in diagnostics:
        match = _FIGURE.fullmatch(line.strip())
        if match is not None:
            found[match[1]] = float(match[2])
    return tuple(Metric(name, value) for name, value in found.items())
