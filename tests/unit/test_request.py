# SPDX-License-Identifier: GPL-2.0-only
"""A request: its sides, and the records of runs that were begun before it was what it is."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from harness.flow.request import Request
from harness.model.codec import from_json, to_json
from harness.model.compare import Leg
from harness.model.errors import StoreCorrupt
from harness.model.kernel import KernelSpec
from harness.model.machine import Machine
from harness.model.series import SeriesSpec
from harness.model.tree import SourceSpec

DEBIAN = {"kind": "debian", "where": "", "what": ""}
OLD = {
    "source": DEBIAN,
    "profile": "debug",
    "machine": json.loads(to_json(Machine())),
    "suites": ["pressure"],
    "repeat": 2,
    "seed": 7,
    "knobs": [{"name": "total", "value": "150"}],
    "fragments": ["own.config"],
    "cases": ["backup_*"],
    "base": None,
    "series": None,
    "upto": None,
    "mirror": "mboxes",
    "jobs": 3,
    "as_they_fit": True,
}
KERNEL = KernelSpec(SourceSpec.parse("debian"), "debug", (Path("own.config"),), mirror=Path("mboxes"))


def old(**words: object) -> Request:
    return from_json(Request, json.dumps({**OLD, **words}))


def test_a_request_of_an_old_record_is_what_it_was() -> None:
    request = old()
    assert request.kernel == KERNEL
    assert request.base is None
    assert (request.repeat, request.seed, request.cases, request.as_they_fit) == (2, 7, ("backup_*",), True)
    assert from_json(Request, to_json(request)) == request


def test_the_base_of_an_old_record() -> None:
    series = json.loads(to_json(SeriesSpec.parse("mbox:t.mbox")))
    patched = old(series=series, upto=3)
    assert (patched.kernel.series, patched.kernel.upto) == (SeriesSpec.parse("mbox:t.mbox"), 3)
    assert patched.sides == {Leg.BASE: KERNEL, Leg.TIP: patched.kernel}
    named = old(series=series, upto=3, base={**DEBIAN, "what": "6.12"})
    assert named.sides[Leg.BASE] == replace(KERNEL, source=SourceSpec.parse("debian:6.12"))


@pytest.mark.parametrize("words", [{"nonsense": 1}, {"source": None}, {"series": 7}, {"seed": "x"}])
def test_what_no_version_wrote_is_refused(words: dict[str, object]) -> None:
    with pytest.raises(StoreCorrupt):
        old(**words)


def test_kernels_before_a_patch() -> None:
    whole = replace(KERNEL, series=SeriesSpec.parse("mbox:t.mbox"))
    assert whole.before_last(3) == replace(whole, upto=2)
    assert replace(whole, upto=2).before_last(3) == replace(whole, upto=1)
    assert replace(whole, upto=1).before_last(3) == KERNEL
    assert replace(whole, upto=1).whole == whole
    assert (whole.patches, replace(whole, upto=2).patches) == (
        "all patches of mbox:t.mbox",
        "patches 1 to 2 of mbox:t.mbox",
    )
