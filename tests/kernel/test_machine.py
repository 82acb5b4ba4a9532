# SPDX-License-Identifier: GPL-2.0-only
"""The machine's axes on real kernels: what lean has and tiny has not, reached and not reached."""

from __future__ import annotations

from typing import Any

import pytest

from tests.kernel.test_run import ttm_harness

MIB = 1 << 20
QUICK = ("run", "--suite", "pressure", "--case", "content_wb")


def facts(report: dict[str, Any]) -> dict[str, Any]:
    plain: dict[str, Any] = report["runs"][0]["facts"]
    return plain


def differences(report: dict[str, Any]) -> dict[str, tuple[str, str]]:
    return {one["what"]: (one["asked"], one["got"]) for one in report["runs"][0]["differences"]}


def test_zram_and_a_disk_with_priorities() -> None:
    report = ttm_harness(*QUICK, "--swap", "zram:128M:zstd@100+disk:512M@10", "--free", "100M", "--swappiness", "150")
    assert differences(report) == {}
    found = facts(report)
    zram, disk = found["swaps"]
    assert (zram["size"], zram["priority"], zram["algorithm"]) == (128 * MIB - 4096, 100, "zstd")
    assert (disk["size"], disk["priority"], disk["algorithm"]) == (512 * MIB - 4096, 10, "")
    assert abs(found["mem_free"] + found["free_pcp"] - 100 * MIB) <= 4 * MIB
    assert found["swappiness"] == 150


@pytest.mark.parametrize("source", ["debian", "debian:6.12"])
def test_zswap_in_front_of_a_slow_disk(source: str) -> None:
    words = ("--source", source, "--suite", "ttm-kunit", "--swap", "zswap:256M:zstd:30%:8M")
    report = ttm_harness("run", *words)
    assert differences(report) == {}
    assert facts(report)["zswap"] == {"enabled": True, "compressor": "zstd", "pool_percent": 30}
    assert 4 * MIB <= facts(report)["swaps"][0]["rate"] <= 10 * MIB


HOG = ("run", "--suite", "pressure", "--case", "hog_beside")


def test_a_hog_within_its_limits() -> None:
    report = ttm_harness(*HOG, "--memory-max", "128M", "--memory-high", "96M")
    assert differences(report) == {}
    assert (facts(report)["memory_max"], facts(report)["memory_high"]) == (128 * MIB, 96 * MIB)
    assert report["verdict"] == "good"


def test_a_hog_beyond_its_limit_is_killed_in_its_group() -> None:
    # It locks 70M: neither free RAM nor swap outside of the group helps it.
    report = ttm_harness(*HOG, "--memory-max", "64M", status=1)
    assert any("memory cgroup /load at its limit of 64 MiB" in event["title"] for event in report["events"])


def test_the_load_on_zram_alone() -> None:
    cases = "f*,pressure_*,hog_beside,content_*,swap_*,noswap_*"
    report = ttm_harness("run", "--suite", "pressure", "--swap", "zram:512M", "--case", cases)
    assert report["verdict"] == "good", report["reasons"]
    outcomes = {case["name"]: case["outcome"] for case in report["cases"]}
    assert outcomes["pressure.forward_progress"] == "SKIP"
    assert outcomes["pressure.pressure_mixed"] == "PASS"


@pytest.mark.parametrize(
    ("words", "what", "got"),
    [
        (("--swap", "zram:64M:deflate"), "compression of swap zram:64M:deflate", "lzo-rle of "),
        (("--swap", "zswap:64M:deflate"), "compressor of zswap", "lzo"),
        (("--append", "zswap.enabled=1"), "zswap", "on"),
        (("--memory-max", "64M", "--append", "cgroup_disable=memory"), "memory.max of the load", "no limit"),
        (("--free", "250M"), "free RAM at start", ""),
    ],
)
def test_what_was_not_reached_is_named(words: tuple[str, ...], what: str, got: str) -> None:
    report = ttm_harness(*QUICK, *words, status=3)
    assert report["verdict"] == "cannot tell"
    assert list(differences(report)) == [what]
    assert differences(report)[what][1].startswith(got)
