# SPDX-License-Identifier: GPL-2.0-only
"""Tree x Profile -> Build: made once, found again by what went into it.

A build's id hashes the tree's content, the asks of the profile, the compiler and make's variables, so that it is
known before make was ever started. `objects/ID` is the place of make, one a build: killed at any point, the next run
goes on from the objects in it. It begins with those of a kernel that is nearly the same (incremental.py). `builds/ID`
appears at once when everything in it is there and was looked at. Both are sealed (store/sealed.py) and believed only
as long as they are what was made: what is damaged is named, set aside, and made again. From sealed objects nothing is
compiled for that; when they do not give what they gave before, they are set aside, too.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from harness.kernel.artefacts import collect, differs, find_modules, objects_to_seal, require_modules
from harness.kernel.buildlog import Paths, first_error, host_trouble, missing_header, parse_warnings, step_of
from harness.kernel.fragments import all_asks, for_version
from harness.kernel.incremental import SEED_LOG, find_seed, plant, steps_left, whole_log
from harness.kernel.kconfig import config_id, resolve_config
from harness.kernel.kept_config import config_key, note_config, take_config
from harness.kernel.make import (
    OBJECTS,
    Make,
    cache_of,
    compiler_version,
    hash_words,
    prepare_place,
    require_tools,
    variables,
)
from harness.model.arch import guest_arch
from harness.model.build import Build, Config, Profile
from harness.model.codec import from_json, to_json
from harness.model.errors import BuildFailed, CommandFailed, InfraError, StoreCorrupt, StoreDamaged, UserError
from harness.model.progress import Progress
from harness.model.tree import Tree
from harness.model.units import format_seconds
from harness.proc import Deadline
from harness.store.files import explain_os_error, fresh_directory, locked, write_atomically
from harness.store.layout import Layout
from harness.store.sealed import SEAL_FILE, damage, read_seal, seal, set_aside, take_out
from harness.store.source_seal import require_sound
from harness.trace import note, now, span

RECIPE = "2"  # raise when what is kept of a build changes, so that older ones are not found again
# A guess until a first build of the profile was counted: what 7.3 took.
_USUAL_STEPS = {"lean": 2300, "tiny": 1750}
_OTHER_STEPS = 2400
_LINKING_STEPS = 45  # of an image and its modules, when all objects are there
_NOTE_SECONDS = 5.0
_RECORD = "build.json"


def build_id(tree: Tree, profile: Profile, compiler: str) -> str:
    """64 hex digits over all that decides what the build is. Pure: no make, no tree is read."""
    fitting, _ = for_version(profile, tree.version_tuple)
    asks = sorted({ask.config_line for ask in all_asks(fitting)})
    return hash_words(RECIPE, tree.id, profile.name, compiler, *variables(), *asks)


def find(tree: Tree, profile: Profile, layout: Layout, deadline: Deadline) -> Build | None:
    """The finished build, or None; starts no make."""
    return _find(build_id(tree, profile, compiler_version(deadline)), tree, layout)


def obtain(
    tree: Tree, profile: Profile, layout: Layout, deadline: Deadline, progress: Progress, jobs: int | None = None
) -> Build:
    """The kernel of that tree and profile: found, or configured and built with `jobs` (all processors) at once.

    Raises ConfigUnmet, UserError (a symbol or a tool that is not there), BuildFailed (the sources), InfraError (the
    host), DeadlineExceeded. A second process that wants the same build waits for the first and finds it.
    """
    compiler = compiler_version(deadline)
    identity = build_id(tree, profile, compiler)
    if (found := _find(identity, tree, layout)) is not None:
        return found
    require_tools()
    with locked(
        _lock(identity, layout),
        deadline,
        lambda: progress.step("waiting for another ttm-harness that builds the same kernel"),
    ):
        if (found := _find(identity, tree, layout)) is not None:
            return found
        job = _Job(identity, tree, profile, compiler, layout, jobs or os.cpu_count() or 1)
        job = replace(job, expected=_clear(job, progress))
        try:
            return _make(job, deadline, progress)
        except _Unlike as error:
            aside = set_aside(job.make.place, layout)
            progress.step(
                f"the objects of {identity[:16]} give another {error} than before: they are set aside as {aside}, "
                "and everything is compiled"
            )
            return _make(replace(job, expected={}), deadline, progress)


class _Unlike(Exception):
    """What came of the objects is not what came of them before; the text names the file."""


def _clear(job: _Job, progress: Progress) -> Mapping[str, str]:
    """Sets aside what there is of the build and is not what was made; returns the hashes of what was made before."""
    path, place = _places(job.identity, job.layout)
    expected: Mapping[str, str] = {}
    if (place / SEAL_FILE).exists():
        take_out(place, job.layout, progress.step, thorough=True)
    if (path / SEAL_FILE).exists():
        try:
            expected = read_seal(path).contents()
        except StoreDamaged:
            pass
        take_out(path, job.layout, progress.step)
    elif path.exists():  # and goes when the new one is there
        progress.step(f"the build {path.name} has no hashes, so it is put together again from its objects")
    return expected


def last_seconds(profile: str, layout: Layout) -> float:
    """What the newest build of the profile took, in seconds; 0 where none was made."""
    return _last_size(profile, layout)[1]


def _lock(identity: str, layout: Layout) -> Path:
    return layout.locks / f"build-{identity[:16]}"


@span("look for the build")
def _find(identity: str, tree: Tree, layout: Layout) -> Build | None:
    """A finished build whose objects are there still; what is damaged counts as not there, and is made again."""
    path, place = _places(identity, layout)
    objects = place / OBJECTS
    try:
        build = from_json(Build, (path / _RECORD).read_text("utf-8"))
    except (OSError, UnicodeDecodeError, StoreCorrupt):
        return None
    # The store may have moved, and the tree may lie elsewhere now: paths are this run's.
    build = replace(build, tree=tree, path=path, objects=objects)
    whole = build.id == identity and build.image.is_file() and (objects / "Module.symvers").is_file()
    if not whole or not build.config_path.is_file() or not build.modules.is_dir():
        return None
    if damage(path) or damage(place):
        return None
    path.touch()  # the time of the last use: `results prune` goes by it
    return build


def kept_build(identity: str, layout: Layout) -> Build | None:
    """The finished build of that id (16 digits of it at least), as long as all of it is in the store and its tree
    where it was; for who wants that one and no other.
    """
    path, _ = _places(identity, layout)
    try:
        build = from_json(Build, (path / _RECORD).read_text("utf-8"))
    except (OSError, UnicodeDecodeError, StoreCorrupt):
        return None
    if not build.id.startswith(identity) or not build.tree.path.is_dir():
        return None
    return _find(build.id, build.tree, layout)


def _places(identity: str, layout: Layout) -> tuple[Path, Path]:
    return layout.builds / identity[:16], layout.objects / identity[:16]


@dataclass(frozen=True, slots=True)
class _Job:
    """One build to be made. `expected`: the hashes of what it was before, where it is made again."""

    identity: str
    tree: Tree
    profile: Profile
    compiler: str
    layout: Layout
    jobs: int
    expected: Mapping[str, str] = field(default_factory=dict)

    def is_like(self, other: Build) -> bool:
        """Whether the other build is what this harness would make of its tree with the same profile and compiler."""
        return build_id(other.tree, self.profile, self.compiler) == other.id

    @property
    def make(self) -> Make:
        place = _places(self.identity, self.layout)[1]
        return Make(place, cache_of(self.tree, place, self.layout.root))

    @property
    def log(self) -> Path:
        return self.make.objects / "build.log"

    @property
    def seed_log(self) -> Path:
        """There while the build goes on, when it began with the objects of another one."""
        return self.make.objects / SEED_LOG

    @property
    def paths(self) -> Paths:
        return Paths((str(self.make.objects), str(self.make.place), str(self.tree.path)))


def _make(job: _Job, deadline: Deadline, progress: Progress) -> Build:
    try:
        require_sound(job.tree.path)
        if not damage(job.make.place):
            return _put_together(job, deadline, progress)
        _begin(job, deadline, progress)
        key = config_key(job.tree, job.profile, job.compiler)  # the host may be another one in the end
        config = _configure(job, key, deadline, progress)
        steps, seconds = _compile(job, deadline, progress)
        return _keep(job, config, steps, seconds, deadline, key)
    except OSError as error:
        raise explain_os_error(error, f"cannot build in {job.make.place}") from error


@span("configure")
def _configure(job: _Job, key: str, deadline: Deadline, progress: Progress) -> Config:
    text = take_config(key, job.tree, job.make.place, job.layout)
    if text is not None:
        _, dropped = for_version(job.profile, job.tree.version_tuple)
        return Config(config_id(text), job.profile.name, text, dropped)
    progress.step(f"configuring {job.profile.name} for {job.tree.version}")
    return resolve_config(job.tree, job.profile, job.make.place, deadline, cache=job.make.cache)


def _put_together(job: _Job, deadline: Deadline, progress: Progress) -> Build:
    """The build from objects that are all there and as they were made: nothing is compiled, and nothing linked."""
    progress.step(f"putting {job.profile.name} for {job.tree.version} together again from its objects")
    text = (job.make.objects / ".config").read_text("utf-8")
    prepare_place(job.make.place, job.tree.path)
    (job.make.place / SEAL_FILE).unlink()  # make may change what is sealed
    steps = {step for line in _log_lines(job.log) if (step := step_of(line)) is not None}
    config = Config(config_id(text), job.profile.name, text)
    return _keep(job, config, len(steps), _Watch(job.make.objects / "seconds").total, deadline)


@span("take objects of another build")
def _begin(job: _Job, deadline: Deadline, progress: Progress) -> None:
    """Takes what another build has made already, unless something was made for this one before."""
    if job.seed_log.is_file():
        # Cut off, perhaps in the middle of a link: the seed's own record would call what is half there finished.
        shutil.rmtree(job.make.place)
    if job.make.place.exists():
        return
    seed = find_seed(job.tree, job.profile.name, job.is_like, job.layout)
    if seed is not None:
        files = "1 file differs" if len(seed.changed) == 1 else f"{len(seed.changed)} files differ"
        progress.step(f"taking the objects of a kernel from which {files}")
        plant(seed, job.tree, job.make.place, _lock(seed.build.id, job.layout), deadline)


@span("make")
def _compile(job: _Job, deadline: Deadline, progress: Progress) -> tuple[int, float]:
    """Runs make to its end; returns the distinct steps and the seconds it took, over all attempts together."""
    watch = _Watch(job.make.objects / "seconds")
    total, seconds = _last_size(job.profile.name, job.layout)
    done = {step for line in _log_lines(job.log) if (step := step_of(line)) is not None}
    if job.seed_log.is_file():
        seconds = 0.0
        total = len(done) + _LINKING_STEPS + steps_left(_log_lines(job.seed_log), job.make.objects)
    expected = f", {format_seconds(seconds)} the last time" if seconds else ""
    progress.step(f"building {job.profile.name} for {job.tree.version} with {job.jobs} jobs{expected}")
    lines: list[str] = []

    def on_line(line: str) -> None:
        step = step_of(line)
        if step is None:
            lines.append(line)
            return
        done.add(step)
        note(line.strip(), now(), lane="steps of make")
        watch.note()
        progress.advance(min(len(done), total), total, "objects")

    try:
        job.make.run(f"-j{job.jobs}", guest_arch().image, "modules", deadline=deadline, log=job.log, on_line=on_line)
    except CommandFailed as error:
        raise _make_error(job, lines, error) from error
    progress.advance(len(done), len(done), "objects")
    return len(done), watch.total


class _Watch:
    """The seconds spent on a build, kept in a file every now and then, so that a kill forgets few of them."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._began = self._noted = time.monotonic()
        try:
            self._earlier = float(file.read_text("ascii"))
        except (OSError, ValueError):
            self._earlier = 0.0

    @property
    def total(self) -> float:
        return self._earlier + time.monotonic() - self._began

    def note(self) -> None:
        if time.monotonic() - self._noted > _NOTE_SECONDS:
            self._noted = time.monotonic()
            # Not written in place: the build may have put a link there.
            write_atomically(self._file, f"{self.total:.1f}")


def _last_size(profile: str, layout: Layout) -> tuple[int, float]:
    """Steps and seconds of the newest build of the profile, else a guess and 0."""
    records = [(path / _RECORD, _age(path / _RECORD)) for path in layout.builds.iterdir()]
    for record, _ in sorted(records, key=lambda pair: pair[1]):
        try:
            build = from_json(Build, record.read_text("utf-8"))
        except (OSError, UnicodeDecodeError, StoreCorrupt):
            continue
        if build.profile == profile and build.steps and not build.seeded:
            return build.steps, build.seconds
    return _USUAL_STEPS.get(profile, _OTHER_STEPS), 0.0


def _age(path: Path) -> float:
    try:
        return -path.stat().st_mtime
    except OSError:
        return 0.0


def _log_lines(log: Path) -> list[str]:
    return log.read_text("utf-8", "replace").split("\n") if log.is_file() else []


def _make_error(job: _Job, lines: list[str], error: CommandFailed) -> Exception:
    """Whose fault a failed make is: the host's, or the sources'."""
    if error.status < 0:
        return error
    if header := missing_header(lines):
        return UserError(
            f"the build needs {header}, which this host has not",
            hint="ttm-harness doctor says what to install",
            log=job.log,
        )
    if trouble := host_trouble(lines):
        return InfraError(f"cannot build {job.tree.version}: {trouble}", hint="mend that, and run again", log=job.log)
    said = first_error(lines, job.paths)
    if said is None:
        return error
    return BuildFailed(f"{job.tree.origin} with profile {job.profile.name} does not build: {said}", log=job.log)


@span("keep the build")
def _keep(job: _Job, config: Config, steps: int, seconds: float, deadline: Deadline, key: str = "") -> Build:
    """Copies what a run needs to builds/ID, after looking that it is there. `key`: of what the config was made; none
    where that was at another time, by a host that may have been another one.
    """
    path, objects = _places(job.identity, job.layout)[0], job.make.objects
    seeded = job.seed_log.is_file()
    if seeded:
        log = whole_log(_log_lines(job.seed_log), _log_lines(job.log), objects)
        write_atomically(job.log, "\n".join(log))
    warnings = parse_warnings(_log_lines(job.log), job.paths)
    if path.is_symlink() or path.is_file():
        path.unlink()
    elif path.exists():  # its objects were gone, or nobody hashed it: `_find` did not take it
        shutil.rmtree(path)
    with fresh_directory(path) as work:
        release = collect(job.make, config, work, deadline)
        asked = find_modules(job.tree.path, job.profile, job.tree.version_tuple)
        require_modules(asked, work / "modules", objects / "modules.order")
        build = Build(
            id=job.identity,
            tree=job.tree,
            profile=job.profile.name,
            config_id=config.id,
            compiler=job.compiler,
            release=release,
            path=path,
            objects=objects,
            warnings=warnings,
            seconds=seconds,
            steps=steps,
            seeded=seeded,
        )
        write_atomically(work / _RECORD, to_json(build))
        if key:
            note_config(key, job.tree.path, objects, work)
        made = seal(work)
        if job.expected and (name := differs(made.contents(), job.expected)):
            raise _Unlike(name)
        seal(job.make.place, objects_to_seal(job.make.place, objects))
    job.seed_log.unlink(missing_ok=True)
    return build
