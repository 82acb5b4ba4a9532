# SPDX-License-Identifier: GPL-2.0-only
"""What a suite promises: what it needs, how it starts in the guest, what must have been executed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from harness.model.features import Feature
from harness.model.figure import Figure
from harness.model.root import BUSYBOX, RootSpec
from harness.model.toml import FIRST, NEVER, as_pattern, as_size, as_version, read_by

IGT_RUNNER = "suite-igt-runner"


@dataclass(frozen=True, slots=True)
class Ground:
    """What decides which cases must run: the kernel's version, the features that its tree has and the symbols of its
    config, swap and RAM of the machine (in bytes), the names of the knobs that were given.
    """

    version: tuple[int, int, int]
    swap: bool = True
    ram: int = 1 << 62
    symbols: frozenset[str] = frozenset()
    knobs: frozenset[str] = frozenset()
    features: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class OnKernels:
    """Something that holds on kernels that have the feature `has` and not the feature `lacks`, in [since, before)."""

    since: tuple[int, int] = field(default=FIRST, metadata=read_by(as_version))
    before: tuple[int, int] = field(default=NEVER, metadata=read_by(as_version))
    has: str = ""
    lacks: str = ""

    def on_kernel(self, ground: Ground) -> bool:
        return (
            self.since <= ground.version[:2] < self.before
            and (not self.has or self.has in ground.features)
            and (not self.lacks or self.lacks not in ground.features)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _OnMachines(OnKernels):
    """With `swap` only on machines that have swap (True) or have none (False)."""

    swap: bool | None = None

    def on_machine(self, ground: Ground) -> bool:
        return self.on_kernel(ground) and self.swap in (None, ground.swap)


@dataclass(frozen=True, slots=True)
class Requirement(_OnMachines):
    """What must have been executed for the suite to count.

    `case` is a glob over `SUITE.CASE` names as KTAP nests them (`ttm_pool.*`); at least `least` distinct cases
    that match must have been executed. SKIP does not count.
    """

    case: str
    least: int


@dataclass(frozen=True, slots=True)
class MaySkip(_OnMachines):
    """A skip that is no gap: case a glob, `reason` a regular expression over what the case said.

    With `ram_below` only in a guest with fewer bytes, with `without` only on a kernel whose config has not that
    symbol, with `knob` only where that knob was given.
    """

    case: str
    reason: str = field(metadata=read_by(as_pattern))
    why: str
    ram_below: int = field(default=0, metadata=read_by(as_size))
    without: str = ""
    knob: str = ""

    def holds_on(self, ground: Ground) -> bool:
        return (
            self.on_machine(ground)
            and (not self.ram_below or ground.ram < self.ram_below)
            and (not self.without or self.without not in ground.symbols)
            and (not self.knob or self.knob in ground.knobs)
        )


@dataclass(frozen=True, slots=True)
class ManifestCase(OnKernels):
    """A case of a manifest: `name` is SUITE.CASE as KTAP nests it. `seconds` is what it takes on an unbroken kernel,
    on the machine that the limits are for; with `params` each of them is a case of its own, `name.PARAM`, where no
    knob chooses others.
    """

    name: str
    seconds: float = 0.0
    params: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """All of its results, as they are called."""
        return tuple(f"{self.name}.{one}" for one in self.params) or (self.name,)


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a suite must run, by name (harness/subjects/README.md). `floors` count where names are not known:
    parameters that the kernel makes, and kernels that were not looked at; `skips` are the skips that are no gap.
    """

    suite: str
    cases: tuple[ManifestCase, ...] = ()
    floors: tuple[Requirement, ...] = ()
    skips: tuple[MaySkip, ...] = ()


@dataclass(frozen=True, slots=True)
class ExpectedFailure(OnKernels):
    """A case that fails because of a known bug of the kernel; `reason` names it.

    Only a FAIL whose message matches `message` (a regular expression) is taken for it; a crash never is.
    """

    case: str
    message: str = field(metadata=read_by(as_pattern))
    reason: str


@dataclass(frozen=True, slots=True)
class Proof(OnKernels):
    """What a case must have said for its pass to count: `case` a glob, `said` a regular expression over what it said,
    whose named groups are numbers, and figures of the case. Where these come to less than `least` together, or it
    did not say it, it is INCOMPLETE, and `why` says what that means.
    """

    case: str
    said: str = field(metadata=read_by(as_pattern))
    least: int = 0
    why: str = ""


@dataclass(frozen=True, slots=True)
class SkipReason(OnKernels):
    """What a skip means, and what can be done about it: `case` a glob, `reason` a regular expression over what the
    case said, which may be nothing. With `gap` such a case is NOT_RUN, required or not.
    """

    case: str
    reason: str = field(metadata=read_by(as_pattern))
    why: str
    gap: bool = False


@dataclass(frozen=True, slots=True)
class ExpectedSplat:
    """A kernel message that a case provokes on purpose: both are regular expressions, `reason` says why."""

    case: str = field(metadata=read_by(as_pattern))
    title: str = field(metadata=read_by(as_pattern))
    reason: str


class KnobForm(StrEnum):
    """How the value of a knob is written."""

    INTEGER = "integer"
    SIZE = "size"  # bytes, with K, M or G
    SHARE = "share"  # a size, or a percentage of free RAM: 200%
    CHOICE = "choice"
    CHANCE = "chance"  # a whole percentage: 1%


@dataclass(frozen=True, slots=True)
class KnobSpec:
    """A parameter that a suite takes. `least` and `most` bound integers (as they are), sizes (in bytes) and
    percentages. It means nothing without the knob `needs`; `cases` are globs of those that take it, where these are
    fewer than the suite's `knob_cases`. One that `chooses` changes which parameters run, and not how long they take.
    """

    name: str
    form: KnobForm
    meaning: str
    least: int = 0
    most: int = 0
    choices: tuple[str, ...] = ()
    needs: str = ""
    cases: tuple[str, ...] = ()
    chooses: bool = False


@dataclass(frozen=True, slots=True)
class Suite:
    """What `suite.toml` of a suite's folder says (harness/subjects/README.md has the keys).

    `script` is the runner's name in the guest's /scripts, `runner` the file where it is the suite's own; `arguments`
    are passed to it. `symbols` are Kconfig symbols of which the suite needs each as y or m. `deadline` is in seconds
    on a machine that runs at the speed of TCG on one laptop core; the flow scales it. `needs_module` is a folder
    with the sources of kernel modules, built against the kernel under test; `needs_overlay` is one with files that
    are laid over a copy of a driver of the tree; `selftests` are targets of the tree's own tools/testing/selftests.
    `sample_ms` is the interval at which the guest's memory is sampled into a time series, the file `stats` of the
    guest with it; 0 leaves it out. `figures` says what the numbers are that it gives. `bad_disk` asks for a disk
    whose writes fail, `devices` are what the guest has beside its own, in QEMU's words.
    With `may_skip` every skip that it does not list is a gap; None leaves skips to the requirements. With a
    `manifest` its cases must run by name, and the guest says first which it is going to run, where it `announces`.
    A `selectable` suite can run a part of its cases; `cases` are the globs of those it runs when nobody chooses.
    `proofs` are what a pass must show for itself, `skip_reasons` what skips mean.
    `knob_cases` are globs of the cases that take knobs. `quick` ones are run when nobody names a suite. It asks a
    tree for its `features`; of a kernel without the one that it is `about` it has nothing to say. `root` is what its
    runner runs in.
    """

    name: str
    title: str
    script: str
    arguments: tuple[str, ...]
    symbols: tuple[str, ...]
    requirements: tuple[Requirement, ...]
    shares_boot: bool
    deadline: float
    profile: str
    subject: str = ""
    folder: Path = Path()
    runner: Path | None = None
    quick: bool = False
    expected_splats: tuple[ExpectedSplat, ...] = ()
    needs_module: Path | None = None
    needs_overlay: Path | None = None
    selftests: tuple[str, ...] = ()
    knobs: tuple[KnobSpec, ...] = ()
    sample_ms: int = 0
    stats: str = ""
    figures: tuple[Figure, ...] = ()
    bad_disk: bool = False
    devices: tuple[str, ...] = ()
    may_skip: tuple[MaySkip, ...] | None = None
    selectable: bool = False
    knob_cases: tuple[str, ...] = ()
    expected_failures: tuple[ExpectedFailure, ...] = ()
    proofs: tuple[Proof, ...] = ()
    skip_reasons: tuple[SkipReason, ...] = ()
    cases: tuple[str, ...] = ()
    manifest: Manifest | None = None
    announces: bool = True
    features: tuple[Feature, ...] = ()
    about: Feature | None = None
    root: RootSpec = BUSYBOX

    @property
    def is_kunit(self) -> bool:
        """Its cases are kunit's: SUITE.CASE, of many suites."""
        return self.script == "suite-kunit"

    @property
    def is_igt(self) -> bool:
        """Its tests are run by igt_runner, whose results are read in place of KTAP."""
        return self.script == IGT_RUNNER

    @property
    def wants_igt(self) -> bool:
        """Its tests are those of an IGT that the user has, and not programs of the guest."""
        return self.is_igt and not self.arguments

    @property
    def brings(self) -> Path | None:
        """The folder of which modules are made for the suite."""
        return self.needs_module or self.needs_overlay


def short_name(case: str) -> str:
    """As --case and the guest call a case: without the suite that KTAP nests it in."""
    return case.partition(".")[2] or case


def whole_globs(suite: Suite, globs: Iterable[str]) -> tuple[str, ...]:
    """What is given to --case, as globs over whole names. Of a kunit suite one with a period is that already."""
    return tuple(glob if suite.is_kunit and "." in glob else f"*.{glob}" for glob in globs)
