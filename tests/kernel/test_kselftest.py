# SPDX-License-Identifier: GPL-2.0-only
"""The tree's own selftests: the smallest target by itself, and what is said of one that cannot run here."""

from __future__ import annotations

from tests.kernel.test_run import executed, ttm_harness


def test_the_smallest_target_runs_and_one_that_needs_bash_is_not_green() -> None:
    report = ttm_harness(
        "run", "--suite", "kselftest", "--case", "size:get_size,memfd:run_hugetlbfs_test.sh", status=3
    )
    found = {case["name"]: case for case in report["cases"]}
    assert found["kselftest.size:get_size"]["outcome"] == "PASS"
    bash = found["kselftest.memfd:run_hugetlbfs_test.sh"]
    assert (bash["outcome"], "needs /bin/bash" in bash["message"]) == ("NOT_RUN", True)
    assert executed(report, "kselftest") == 1
    assert report["verdict"] == "cannot tell"
