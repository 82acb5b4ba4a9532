# SPDX-License-Identifier: GPL-2.0-only
"""Whether KVM is believed: once a guest got ready under it, and for as long as the host is the same.

The boots are faked here, as a host has either a KVM that works or one that does not; tests/functional asks the real
one.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from harness.guest import accel
from harness.model.errors import UserError
from harness.model.machine import Accel
from harness.store.layout import Layout


class Probe:
    """Answers like a host with such a KVM, and counts how often it was asked."""

    def __init__(self, works: bool) -> None:
        self.works = works
        self.asked = 0

    def __call__(self) -> bool:
        self.asked += 1
        return self.works


@pytest.fixture
def device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "kvm"
    path.touch()
    monkeypatch.setattr(accel, "KVM_DEVICE", path)
    return path


@pytest.mark.parametrize("works", [False, True])
def test_a_host_is_asked_once(works: bool, device: Path, scratch_layout: Layout) -> None:
    probe = Probe(works)
    answers = {accel.settle(Accel.AUTO, scratch_layout, probe) for _ in range(3)}
    assert answers == {Accel.KVM if works else Accel.TCG}
    assert probe.asked == 1
    assert accel.expected(Accel.AUTO, scratch_layout) in answers


@pytest.mark.parametrize(("works", "asked"), [(False, 2), (True, 1)])
def test_a_no_is_asked_again_after_a_week(works: bool, asked: int, device: Path, scratch_layout: Layout) -> None:
    probe = Probe(works)
    accel.settle(Accel.AUTO, scratch_layout, probe)
    before = time.time() - 8 * 86400
    os.utime(scratch_layout.host_file, (before, before))
    accel.settle(Accel.AUTO, scratch_layout, probe)
    assert probe.asked == asked


def test_another_kernel_or_a_damaged_file_is_another_host(
    device: Path, scratch_layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    probe = Probe(False)
    accel.settle(Accel.AUTO, scratch_layout, probe)
    monkeypatch.setattr("platform.release", lambda: "another")
    accel.settle(Accel.AUTO, scratch_layout, probe)
    scratch_layout.host_file.write_text("{")
    assert accel.expected(Accel.AUTO, scratch_layout) is Accel.AUTO
    accel.settle(Accel.AUTO, scratch_layout, probe)
    assert probe.asked == 3


def test_without_the_device_nobody_is_asked(device: Path, scratch_layout: Layout) -> None:
    device.unlink()
    probe = Probe(True)
    assert accel.settle(Accel.AUTO, scratch_layout, probe) is Accel.TCG
    assert accel.settle(Accel.TCG, scratch_layout, probe) is Accel.TCG
    with pytest.raises(UserError, match="kvm asks for it"):
        accel.settle(Accel.KVM, scratch_layout, probe)
    assert probe.asked == 0
