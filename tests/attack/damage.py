# SPDX-License-Identifier: GPL-2.0-only
"""Stores with something broken in them, and every verb that reads one: no green of what was not good, no red of what
was, a sentence for the rest, and nothing else touched.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import socket
import stat
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from harness.store.sealed import SEAL_FILE
from tests.attack.forked import Call, start, wait
from tests.attack.ground import Ground, tree_digest

_COMMANDS_EACH = 16
_BOOTS_IN = 0.2  # of the stores: what boots takes a hundred times longer
_SECONDS = 300.0
_LARGEST = 64 << 20


@dataclass(frozen=True, slots=True)
class Model:
    """A store with a run of every kind, from which each attack starts."""

    store: Path
    good: str
    bad: str
    unfinished: str


def attack(ground: Ground, commands: int) -> None:
    model = make_model(ground)
    while ground.tally.done["damaged-store commands"] < commands:
        _attack_once(ground, model)
        if ground.tally.done["damaged stores"] % 20 == 0:
            print(f"  {ground.tally.text()}", flush=True)


def make_model(ground: Ground) -> Model:
    store = ground.place / "model"
    shutil.rmtree(store, ignore_errors=True)
    before: set[str] = set()
    names = []
    for words in ((), ("--append", "broken=1")):
        ground.command(*ground.run_words, *words, store=store)
        names.append(next(iter({path.name for path in (store / "runs").iterdir()} - before)))
        before.add(names[-1])
        time.sleep(1.1)  # names sort by the second
    child = start(Call((*ground.run_words, "--repeat", "3"), ground.environment(store), cwd=str(ground.place)))
    limit = time.monotonic() + 60
    while time.monotonic() < limit:
        if any(
            "finished" in path.read_text()
            for path in store.glob("runs/*/journal.jsonl")
            if path.parent.name not in before
        ):
            break
        time.sleep(0.02)
    os.kill(child, signal.SIGKILL)
    wait(child, 10)
    time.sleep(4)  # its guest has a grace
    left = next(iter({path.name for path in (store / "runs").iterdir()} - before))
    ground.command("results", "list", store=store)
    return Model(store, names[0], names[1], left)


def _attack_once(ground: Ground, model: Model) -> None:
    store = ground.place / "store"
    shutil.rmtree(store, ignore_errors=True)
    shutil.copytree(model.store, store, symlinks=True, ignore=_sockets)
    chance = ground.chance
    hurt = [_hurt(ground, store) for _ in range(chance.choice((1, 1, 1, 2, 3)))]
    whole = {
        name: tree_digest(store / "runs" / name)
        for name in (model.good, model.bad)
        if not any(f"runs/{name}" in one or one.endswith(" runs") for one in hurt)
    }
    spoiled = _evidence(store, model.good) != _evidence(model.store, model.good)
    ground.tally.done["damaged stores"] += 1
    ground.tally.done["stores with damaged evidence"] += spoiled
    words = list(_commands(ground, model))
    if chance.random() > _BOOTS_IN:
        words = [one for one in words if one[0] != "run"]
    words = chance.sample(words, _COMMANDS_EACH)
    for one in sorted(words, key=lambda one: ("--yes" in one, one[0] == "run")):
        ended = ground.command(*one, store=store, seconds=_SECONDS)
        ground.tally.done["damaged-store commands"] += 1
        said = f"{'; '.join(hurt)}: {' '.join(one)} -> {ended.status}"
        if ended.traced or ended.status is None:
            print(f"    {said}", flush=True)
        asked = one[-1] if one[0] == "report" else one[1].partition("=")[2] if "--resume=" in one[1] else ""
        if asked in (model.bad, model.unfinished) and ended.status == 0 and one[0] == "report":
            ground.tally.fault("false green", said)
        if asked == model.good and ended.status == 0 and one[0] == "report" and spoiled:
            ground.tally.fault("false green", said)
        if ended.status == 1 and (asked in (model.good, model.unfinished) or one[0] == "run"):
            ground.tally.fault("false red", said)
        ground.look_at_canary(said)
    for name, digest in whole.items():
        if (store / "runs" / name).is_dir() and tree_digest(store / "runs" / name) != digest:
            ground.tally.fault("result lost", f"{'; '.join(hurt)}: {name} is not what it was")
        elif not (store / "runs" / name).is_dir() and not any("--yes" in one for one in words):
            ground.tally.fault("result lost", f"{'; '.join(hurt)}: {name}")


def _sockets(place: str, names: list[str]) -> set[str]:
    """Those that cannot be copied: what a killed guest's QMP left."""
    return {name for name in names if stat.S_ISSOCK(os.lstat(f"{place}/{name}").st_mode)}


def _evidence(store: Path, run: str) -> dict[str, str]:
    """What each file of the run's boots holds, by its path."""
    found = {}
    for path in sorted((store / "runs" / run).glob("[0-9]*/**/*")):
        # Whoever looks at a boot writes into the first line of its seal when that was.
        size = path.stat().st_size if path.is_file() else 0
        content = path.read_bytes() if 0 < size < _LARGEST else str(size).encode()
        content = content.partition(b"\n")[2] if path.name == SEAL_FILE else content
        kind = stat.S_IFMT(path.lstat().st_mode)
        found[str(path.relative_to(store))] = f"{kind} {hashlib.sha256(content).hexdigest()}"
    return found


def _commands(ground: Ground, model: Model) -> Iterator[tuple[str, ...]]:
    for name in (model.good, model.bad, model.unfinished):
        yield ("report", name)
        yield ("results", "show", name)
        yield ("compare", model.good, name)
        for form in ("json", "html", "junit"):
            yield ("report", "--as", form, name)
    yield ("report", "latest")
    yield ("results", "list", "--json")
    yield ("results", "index")
    yield ("results", "show", "example.*")
    yield ("run", f"--resume={model.unfinished}", "--quiet")
    yield ("run", "--resume", "--quiet")
    yield (*ground.run_words, "--list")
    yield ground.run_words
    yield ("results", "prune", "--keep", "1", "--unused", "1d")
    yield ("results", "prune", "--keep", "2", "--unused", "1d", "--yes")


def _hurt(ground: Ground, store: Path) -> str:
    """Breaks one thing of the store; returns what was done, in words."""
    chance = ground.chance
    everything = sorted(path for path in store.rglob("*") if not path.is_symlink())
    if chance.random() < 0.7:  # what a verdict rests on, more often than make's leavings
        everything = [path for path in everything if path.relative_to(store).parts[0] not in ("sources", "objects")]
    if chance.random() < 0.4:
        everything = [path for path in everything if path.suffix in (".json", ".jsonl", ".sqlite")] or everything
    path = chance.choice(everything)
    how = chance.choice(_DAMAGES)
    try:
        how(path, ground)
    except OSError as error:
        return f"nothing ({how.__name__} {path.relative_to(store)}: {error.strerror})"
    return f"{how.__name__} {path.relative_to(store)}"


def flip(path: Path, ground: Ground) -> None:
    if path.is_file() and (data := bytearray(path.read_bytes())):
        for _ in range(ground.chance.choice((1, 1, 5, 50))):
            data[ground.chance.randrange(len(data))] = ground.chance.randrange(256)
        path.write_bytes(data)


def cut(path: Path, ground: Ground) -> None:
    if path.is_file():
        os.truncate(path, ground.chance.randrange(path.stat().st_size + 1))


def empty(path: Path, ground: Ground) -> None:
    if path.is_file():
        os.truncate(path, 0)
    else:
        _clear(path)
        path.mkdir()


def lose(path: Path, ground: Ground) -> None:
    _clear(path)


def double(path: Path, ground: Ground) -> None:
    if path.is_file():
        path.write_bytes(path.read_bytes() * 2)


def garbage(path: Path, ground: Ground) -> None:
    if path.is_file():
        path.write_bytes(ground.chance.randbytes(ground.chance.choice((1, 100, 10_000))))


def nest(path: Path, ground: Ground) -> None:
    if path.is_file():
        path.write_text("[" * 100_000)


def odd_json(path: Path, ground: Ground) -> None:
    if path.is_file():
        odd = ("null", "[]", "{}", "1e999", '"\\ud800"', "9" * 5000, '{"schema": null}', "\0" * 50)
        path.write_text(ground.chance.choice(odd))


def odd_value(path: Path, ground: Ground) -> None:
    """A value of the JSON in the file put in the place of another."""
    if path.is_file() and path.suffix in (".json", ".jsonl"):
        words = path.read_text(errors="replace").split(": ")
        if len(words) > 2:
            place = ground.chance.randrange(1, len(words))
            rest = words[place][words[place].find(",") :] if "," in words[place] else words[place]
            words[place] = (
                ground.chance.choice(("-1", "1e400", '""', "null", "[]", '"\\ud800"', '"../../canary"')) + rest
            )
            path.write_text(": ".join(words))


def link_to_file(path: Path, ground: Ground) -> None:
    _clear(path)
    path.symlink_to(ground.canary / "file")


def link_to_directory(path: Path, ground: Ground) -> None:
    _clear(path)
    path.symlink_to(ground.canary)


def link_to_nothing(path: Path, ground: Ground) -> None:
    _clear(path)
    path.symlink_to(ground.canary / "not-there-yet")


def link_to_itself(path: Path, ground: Ground) -> None:
    _clear(path)
    path.symlink_to(path.name)


def link_to_zeroes(path: Path, ground: Ground) -> None:
    _clear(path)
    path.symlink_to("/dev/zero")


def directory(path: Path, ground: Ground) -> None:
    _clear(path)
    path.mkdir()
    (path / "file").write_text("x")


def pipe(path: Path, ground: Ground) -> None:
    _clear(path)
    os.mkfifo(path)


def unix_socket(path: Path, ground: Ground) -> None:
    _clear(path)
    with socket.socket(socket.AF_UNIX) as there:
        there.bind(os.path.relpath(path))


def closed(path: Path, ground: Ground) -> None:
    path.chmod(0)


def sparse(path: Path, ground: Ground) -> None:
    if path.is_file():
        os.truncate(path, 1 << 31)


def shared(path: Path, ground: Ground) -> None:
    """A second name for another file of the store."""
    files = [one for one in path.parent.iterdir() if one.is_file() and not one.is_symlink() and one != path]
    if path.is_file() and files:
        path.unlink()
        path.hardlink_to(ground.chance.choice(files))


_DAMAGES: tuple[Callable[[Path, Ground], None], ...] = (
    flip, flip, cut, cut, empty, empty, lose, lose, double, garbage, nest, odd_json, odd_value, odd_value, directory,
    link_to_file, link_to_directory, link_to_nothing, link_to_itself, link_to_zeroes, pipe, unix_socket, closed,
    sparse, shared,
)  # fmt: skip


def _clear(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
