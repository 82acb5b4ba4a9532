# SPDX-License-Identifier: GPL-2.0-only
"""Root file systems of Debian and of the user's own, as directories that a guest is shown read-only.

STORE/roots/ID/root.json      what it was made of, how long that took, how large it is
STORE/roots/ID/tree/          the root
STORE/roots/ID/packages       of one of Debian: its packages and their versions

The id says what was asked for (of an archive: its content), so that it is made once. A Debian suite moves, and the
root that was made of it does not: remove its directory, and it is made of the suite as it is then.
"""

from __future__ import annotations

import hashlib
import os
import pwd
import re
import tempfile
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from harness.inputs.apt_sources import Repository, plan, read_host, to_sources
from harness.inputs.root_archive import LARGEST, Unpacked, unpack_root
from harness.inputs.source_cache import Work, require_space
from harness.inputs.unpack import hash_file
from harness.model.arch import guest_arch
from harness.model.codec import from_json, to_json
from harness.model.errors import CommandFailed, HarnessError, InfraError, StoreCorrupt, StoreDamaged, UserError
from harness.model.root import PreparedRoot, RootKind, RootSpec
from harness.model.units import GIB, about_size, format_seconds
from harness.proc import Deadline, find_tool, run
from harness.store.files import fresh_directory, locked, mark_used, read_regular, write_atomically
from harness.store.remove import remove
from harness.store.sealed import damage, seal, take_out

APT_DIRECTORY = Path("/etc/apt")
TREE = "tree"
_RECORD = "root.json"
_RECIPE = "1"  # raise when a root is made in another way
_LARGEST_RECORD = 1 << 20
_LARGEST_STATUS = 64 << 20
_SPACE = 2 * GIB  # of a Debian root while it is made
_RESERVE = GIB  # bytes that stay free on the disk, whatever an archive wants
_MOST_LINKS = 40
_SOON_SECONDS = 20.0
_REMOVE_SECONDS = 120.0
_SHELL = "bin/sh"
_SUBORDINATE = (Path("/etc/subuid"), Path("/etc/subgid"))
_IDS = 65536
IDS_HINT = "as root: usermod --add-subuids 100000-165535 --add-subgids 100000-165535 USER, a range of nobody else"
_MODULES = "lib/modules"
_POCKETS = ("-updates", "-security", "/updates")
# Nobody reads these in a guest; without them a root is half as large.
_WITHOUT = ("man", "doc", "locale", "info", "lintian", "bug")
_NO_PACKAGE = re.compile(r"Unable to locate package (\S+)|Package '?(\S+?)'? has no installation candidate")
_NO_SUITE = ("does not have a Release file", "404  Not Found", "is not signed")


def obtain_root(spec: RootSpec, work: Work, apt_directory: Path = APT_DIRECTORY) -> PreparedRoot:
    """The root, made where the store has it not. Not for busybox, which guest/root.py makes.

    UserError for what is not there, is no root, or cannot be had on this host; InfraError where the mirror or the
    disk does not let it be made.
    """
    if spec.kind is RootKind.DIRECTORY:
        return _directory(spec)
    if spec.kind is RootKind.TAR:
        archive = Path(spec.where).expanduser().absolute()
        if not archive.is_file():
            raise UserError(f"the root {spec}: {archive} is not a file")
        identity = _hashed("tar", hash_file(archive))
        return _stored(spec, identity, work, lambda place: _unpacked(archive, place, work))
    identity = _hashed("debian", guest_arch().name, spec.where, *spec.packages)
    return _stored(spec, identity, work, lambda place: _debian(spec, place, work, apt_directory))


def require_usable(root: PreparedRoot, program: Path) -> None:
    """UserError for a root in which no command could be started; `program` is one that runs in the guest."""
    shell = inside(root.tree, _SHELL)
    if shell is None or not shell.is_file():
        raise UserError(f"the root {root.spec} has no shell: there is no /{_SHELL} in it")
    if not os.access(shell, os.X_OK):
        raise UserError(f"the root {root.spec} has no shell: its /{_SHELL} cannot be executed")
    if _machine(shell) not in (b"", _machine(program)):
        raise UserError(f"the root {root.spec} is of another architecture than the guest, {guest_arch().title}")
    modules = inside(root.tree, _MODULES)
    if modules is None or not modules.is_dir():
        raise UserError(
            f"the root {root.spec} has no directory /{_MODULES}, where the guest's kernel has its modules",
            hint="an empty one will do",
        )


def inside(tree: Path, name: str) -> Path | None:
    """Where a name of the guest leads on the host, links followed as the guest follows them; None: nowhere."""
    left, at = [part for part in reversed(name.split("/")) if part], tree
    links = 0
    while left:
        part = left.pop()
        if part in ("", "."):
            continue
        if part == "..":
            at = at if at == tree else at.parent
            continue
        at = at / part
        if at.is_symlink():
            links += 1
            if links > _MOST_LINKS:
                return None
            target = str(at.readlink())
            at = tree if target.startswith("/") else at.parent
            left += reversed(target.split("/"))
    return at if at.exists() else None


def _machine(program: Path) -> bytes:
    """Class and machine of an ELF file; nothing of a script."""
    try:
        with program.open("rb") as file:
            head = file.read(20)
    except OSError:
        return b""
    return head[4:6] + head[18:20] if head.startswith(b"\x7fELF") else b""


def _directory(spec: RootSpec) -> PreparedRoot:
    tree = Path(spec.where).expanduser().absolute()
    if not tree.is_dir():
        raise UserError(f"the root {spec}: {tree} is not a directory")
    if tree.resolve() == Path("/"):
        raise UserError("the root dir:/ would show all of this host to the guest", hint="name a root of its own")
    return PreparedRoot(spec, tree)


def _hashed(*words: str) -> str:
    return hashlib.sha256("\0".join((_RECIPE, *words)).encode()).hexdigest()[:16]


def _stored(spec: RootSpec, identity: str, work: Work, fill: Callable[[Path], Unpacked]) -> PreparedRoot:
    """The root of that id, which `fill` makes in a fresh directory where it is not there as it was made."""
    final = work.layout.roots / identity
    if (found := _found(final, spec)) is not None:
        return found
    work.reach_out(f"the root {spec}")

    def on_wait() -> None:
        work.progress.step(f"waiting for another ttm-harness, which makes the root {spec}")

    with locked(work.layout.locks / f"root-{identity}", work.deadline, on_wait):
        if (found := _found(final, spec)) is not None:
            return found
        for left in work.layout.roots.glob(f"{identity}.part-*"):  # the lock is ours: its owner has died
            remove(left)
        if final.exists():
            take_out(final, work.layout, work.progress.step)
        began = time.monotonic()
        with fresh_directory(final) as place:
            made = fill(place)
            record = PreparedRoot(spec, Path(TREE), None, made.files, made.size, time.monotonic() - began)
            write_atomically(place / _RECORD, to_json(record))
            seal(place)
        what = f"{made.files} files, {about_size(made.size)}, {format_seconds(record.seconds)}"
        work.progress.step(f"made the root {spec}: {what}")
        return replace(record, tree=final / TREE, place=final)


def _found(final: Path, spec: RootSpec) -> PreparedRoot | None:
    if damage(final):
        return None
    try:
        record = from_json(PreparedRoot, read_regular(final / _RECORD, _LARGEST_RECORD).decode("utf-8"))
    except (OSError, UnicodeDecodeError, StoreCorrupt) as error:
        raise StoreDamaged(f"{final / _RECORD} cannot be read: {error}") from error
    mark_used(final)
    return replace(record, spec=spec, tree=final / TREE, place=final)


def _unpacked(archive: Path, place: Path, work: Work) -> Unpacked:
    tree = place / TREE
    tree.mkdir()
    space = os.statvfs(place)
    room = min(LARGEST, space.f_bavail * space.f_frsize - _RESERVE)
    if room <= 0:
        require_space(place, _RESERVE, f"unpacking {archive.name}")
    work.progress.step(f"unpacking {archive.name}")
    made = unpack_root(archive, tree, work.deadline, room)
    modules = inside(tree, "lib")
    if modules is not None and modules.is_dir():
        (modules / "modules").mkdir(exist_ok=True)
    return made


def _debian(spec: RootSpec, place: Path, work: Work, apt_directory: Path) -> Unpacked:
    if find_tool("mmdebstrap") is None:
        raise UserError(
            f"the root {spec} needs mmdebstrap, which is not installed",
            hint="ttm-harness doctor --fix installs it; tar:FILE and dir:PATH need nothing",
        )
    if not guest_arch().native:
        raise UserError(f"the root {spec} cannot be made here: it would be of this host's architecture")
    sources = sources_for(spec, read_host(apt_directory))
    if not sources:
        raise UserError(
            f"the root {spec} cannot be made: the apt sources in {apt_directory} name no mirror that has it",
            hint="tar:FILE takes a root that was made elsewhere",
        )
    require_space(place, _SPACE, f"making the root {spec}")
    write_atomically(place / "debian.sources", to_sources(sources))
    work.progress.step(f"making the root {spec} with mmdebstrap, which takes a minute or two")
    archive = place / "root.tar"
    with _scratch(place) as scratch:
        try:
            run(
                _mmdebstrap(spec, archive, place / "debian.sources"),
                deadline=work.deadline,
                env={"TMPDIR": os.fspath(scratch)},
                log=place / "mmdebstrap.log",
                reaped=True,
            )
        except CommandFailed as error:
            raise _explain(spec, error) from error
    made = _unpacked(archive, place, work)
    archive.unlink()
    (place / "debian.sources").unlink()
    write_atomically(place / "packages", "".join(f"{line}\n" for line in _packages(place / TREE)))
    return made


@contextmanager
def _scratch(place: Path) -> Iterator[Path]:
    """A directory that anybody may enter: in its namespaces mmdebstrap is somebody else, who cannot reach the store.
    What a killed one left for the same root is removed first.
    """
    prefix = f"ttm-harness-root-{place.name.partition('.')[0]}-"
    for left in Path(tempfile.gettempdir()).glob(f"{prefix}*"):
        if left.lstat().st_uid == os.geteuid():
            _remove(left)
    path = Path(tempfile.mkdtemp(prefix=prefix))
    path.chmod(0o755)
    try:
        yield path
    finally:
        _remove(path)


def _remove(path: Path) -> None:
    """What was made in namespaces belongs to users that only such namespaces have."""
    with suppress(HarnessError):
        if os.geteuid():
            words = ("unshare", "--user", "--map-auto", "--map-root-user", "rm", "-rf", "--", os.fspath(path))
            run(words, deadline=Deadline(_REMOVE_SECONDS), cwd=Path("/"))
    with suppress(OSError):
        remove(path)


def sources_for(spec: RootSpec, host: list[Repository]) -> list[Repository]:
    """Where the suite is to be had: the host's own archives that have it, or else its archive of Debian, asked for
    that suite. Of the pockets only those that the host itself has: a guest has no network to be attacked over.
    """
    wanted = (spec.where, *(f"{spec.where}{pocket}" for pocket in _POCKETS))
    entries = plan(host)
    own = [replace(one, suites=tuple(suite for suite in one.suites if suite in wanted)) for one in entries]
    if found := [one for one in own if one.suites]:
        return found
    archive = next((one for one in entries if one.is_debian and not one.is_security), None)
    return [] if archive is None else [replace(archive, suites=(spec.where,))]


def _mmdebstrap(spec: RootSpec, archive: Path, sources: Path) -> tuple[str, ...]:
    settings = (
        'APT::Install-Recommends "false"',
        'Acquire::Languages "none"',
        'Acquire::Retries "2"',
        # A mirror that stands still will do: it is signed all the same, and a guest has no network.
        'Acquire::Check-Valid-Until "false"',
    )
    excluded = (f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in _WITHOUT)
    return (
        *("nice", "-n", "10", "mmdebstrap", f"--mode={_mode(spec)}", "--variant=essential", "--format=tar"),
        *(f"--aptopt={setting}" for setting in settings),
        *("--dpkgopt=force-unsafe-io", *excluded),
        *((f"--include={','.join(spec.packages)}",) if spec.packages else ()),
        *(spec.where, os.fspath(archive), os.fspath(sources)),
    )


def _mode(spec: RootSpec) -> str:
    """In namespaces of its own where the host allows it: the packages' scripts are root there alone."""
    try:
        run(("unshare", "--user", "--map-root-user", "true"), deadline=Deadline(_SOON_SECONDS), cwd=Path("/"))
    except HarnessError:
        if os.geteuid() == 0:
            return "root"
        raise UserError(
            f"the root {spec} cannot be made here: this host allows you no user namespaces",
            hint="as root it can be; tar:FILE and dir:PATH need none",
        ) from None
    if os.geteuid() and find_tool("newuidmap") is None:
        raise UserError(f"the root {spec} needs newuidmap, which is not installed", hint="its package is uidmap")
    if without := without_ids():
        raise UserError(f"the root {spec} cannot be made: {without}", hint=IDS_HINT)
    return "unshare"


def without_ids() -> str:
    """A sentence where this user, who is not root, has no ids to be others with in a namespace; else empty."""
    uid = os.geteuid()
    if uid == 0:
        return ""
    try:
        name = pwd.getpwuid(uid).pw_name
    except KeyError:
        name = str(uid)
    lacking = [path for path in _SUBORDINATE if not _gives_ids(path, (name, str(uid)))]
    return f"the user {name} has no ids in {' and '.join(map(str, lacking))}" if lacking else ""


def _gives_ids(path: Path, names: Collection[str]) -> bool:
    """Whether a line NAME:FIRST:COUNT is there for one of the names, with enough of them for a root file system."""
    try:
        rows = [line.strip().split(":") for line in path.read_text(encoding="utf-8", errors="replace").splitlines()]
    except OSError:
        return False
    return any(len(row) == 3 and row[0] in names and row[2].isdecimal() and int(row[2]) >= _IDS for row in rows)


def _explain(spec: RootSpec, error: CommandFailed) -> HarnessError:
    if found := _NO_PACKAGE.search(error.tail):
        return UserError(f"the root {spec} cannot be made: {spec.where} has no package {found[1] or found[2]}")
    if any(words in error.tail for words in _NO_SUITE):
        return UserError(
            f"the root {spec} cannot be made: the mirror has no suite {spec.where}, or no key of it is here",
            hint=f"for a newer Debian, debian-archive-keyring has to be of it: {_last(error.tail)}",
        )
    if "No space left" in error.tail:
        return InfraError(f"the root {spec} cannot be made: no space left on the disk", hint="TMPDIR names another")
    return InfraError(
        f"the root {spec} cannot be made: {_last(error.tail)}", hint="look at the network and the proxy"
    )


def _last(said: str) -> str:
    """The line that says most: apt's own complaint, or the last one."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    complaints = [line for line in lines if line.startswith(("E: ", "Err:"))]
    told = [line for line in complaints if "failed to run" not in line and "mmdebstrap failed" not in line]
    return (told or complaints or lines or ["mmdebstrap failed"])[0]


def _packages(tree: Path) -> Iterator[str]:
    """`NAME VERSION` of what is installed, by dpkg's own record."""
    text = read_regular(tree / "var/lib/dpkg/status", _LARGEST_STATUS).decode("utf-8", "replace")
    for stanza in text.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in stanza.splitlines() if ": " in line and line[0].isalpha())
        if "Package" in fields and "Version" in fields:
            yield f"{fields['Package']} {fields['Version']}"
