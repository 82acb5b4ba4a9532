# SPDX-License-Identifier: GPL-2.0-only
"""The kernels of a run with a series: whose fault it is when one of them cannot be made.

The gate has found nothing here, and kernels are not made: what matters is which of them could not be.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from harness.flow.kernels import Kernels, prepare_kernels
from harness.flow.matrix import matrix_of
from harness.flow.prepare import Stopwatch
from harness.flow.request import Request
from harness.model.build import Build
from harness.model.errors import BuildFailed, ConfigUnmet, HarnessError, ModuleFailed
from harness.model.gate import GATE_SCHEMA, Gate, PatchGate
from harness.model.kernel import KernelSpec, PreparedKernel
from harness.model.machine import Machine
from harness.model.outcome import Verdict
from harness.model.series import SeriesSpec
from harness.model.tree import SourceSpec, Tree
from harness.store.layout import Layout
from tests.unit.results_support import Quiet

TREE = Tree("a" * 64, "7.3.4", "linux-test", Path("linux"), "test")
BUILD = Build("b" * 64, TREE, "lean", "c", "gcc", "7.3.4", Path("b"), Path("o"))
READY = PreparedKernel(BUILD, {})
GOOD = Gate(
    GATE_SCHEMA,
    Verdict.GOOD,
    (),
    "them v1",
    "1" * 64,
    "linux-test",
    0,
    tuple(PatchGate(number, 3, f"do {number}", "0" * 40, ()) for number in (1, 2, 3)),
)
FAILED = BuildFailed("undefined reference to `x'")


class MultiProgress(Quiet):
    def task(self, number: int, text: str) -> None: ...

    def task_ends(self, number: int, text: str) -> None: ...


def request(upto: int | None) -> Request:
    kernel = KernelSpec(SourceSpec.parse("debian"), series=SeriesSpec.parse("mbox:t.mbox"), upto=upto)
    return Request(kernel, Machine(), ("kunit-self",), base=kernel.unpatched)


def prepared(
    errors: Mapping[int, HarnessError], *upto: int | None, layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> Kernels:
    """`errors` of kernels by the number of their patches; 0 is the base."""

    def prepare(kernel: KernelSpec, *_: object) -> PreparedKernel:
        number = 0 if kernel.series is None else kernel.upto or 3
        if number in errors:
            raise errors[number]
        return READY

    monkeypatch.setattr("harness.flow.kernels.gate_kernel", lambda *_: GOOD)
    monkeypatch.setattr("harness.flow.kernels.prepare", prepare)
    matrix = matrix_of(tuple(map(request, upto)))
    return prepare_kernels(matrix, layout, MultiProgress(), Stopwatch(), gated=True)


@pytest.mark.parametrize("error", [FAILED, ConfigUnmet("1 of the symbols asked for did not come out")])
@pytest.mark.parametrize(
    ("failed", "upto", "first_bad"),
    [
        ((2,), (1, 2, 3), 2),
        ((2,), (3, 2, 1), 2),  # in any order
        ((2, 3), (1, 2, 3), 2),  # the third is not worse than the second
        ((1,), (1,), 1),  # the base was built
        ((3,), (None,), 0),  # the second was not tried
        ((2, 3), (None, 2), 0),
    ],
)
def test_a_patch_is_at_fault_when_the_kernel_before_it_was_built(
    failed: tuple[int, ...],
    upto: tuple[int | None, ...],
    first_bad: int,
    error: HarnessError,
    scratch_layout: Layout,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = prepared(dict.fromkeys(failed, error), *upto, layout=scratch_layout, monkeypatch=monkeypatch)
    (gate,) = found.gates
    assert (gate.verdict, gate.first_bad) == (Verdict.BAD, first_bad)
    assert len(gate.reasons) == len(failed) and all(error.message in reason for reason in gate.reasons)
    made = [one.upto for one in found.prepared if one.series is not None]
    assert made == [number for number in upto if (number or 3) not in failed]


@pytest.mark.parametrize(
    ("number", "error"), [(0, FAILED), (0, ConfigUnmet("not there")), (3, ModuleFailed("the module does not build"))]
)
def test_what_no_patch_can_be_blamed_for_ends_the_run(
    number: int, error: HarnessError, scratch_layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(type(error)):
        prepared({number: error}, None, layout=scratch_layout, monkeypatch=monkeypatch)
