# SPDX-License-Identifier: GPL-2.0-only
"""Buffers of an emulated qxl, swapped out by TTM and in again: the driver is compiled (15 files) beside the kernel of
`lean`, which is not built for it. A minute on two idle cores.
"""

from __future__ import annotations

from tests.kernel.test_run import executed, ttm_harness


def test_what_ttm_swaps_out_comes_back() -> None:
    report = ttm_harness("run", "--suite", "qxl", "--case", "tt_shrink,shared,unload", status=0)
    found = {case["name"]: case for case in report["cases"]}
    assert executed(report, "qxl") == 3
    assert {"name": "swapped_out", "value": 24 * 256.0} in found["qxl.tt_shrink"]["metrics"]
    assert report["verdict"] == "good"
