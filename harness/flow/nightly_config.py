# SPDX-License-Identifier: GPL-2.0-only
"""The file of a nightly: docs/nightly.md is the contract. Paths are relative to the file."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from pathlib import Path

from harness.flow.plans import load_plan
from harness.flow.tell import command_words, mail_server, patchwork_project
from harness.inputs.series.watch import Watched
from harness.model.errors import UserError
from harness.model.machine import Machine, Swap
from harness.model.toml import Mistake, as_text, each, read_by, refusal, structure, text_of, to_table
from harness.model.tree import SourceSpec
from harness.model.units import GIB, MIB, parse_age, parse_size
from harness.reports.kcidb import ORIGIN, require_origin
from harness.reports.mail import addresses

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_CLOCK = re.compile(r"([01]\d|2[0-3]):([0-5]\d)")
_BUDGET = re.compile(r"(\d{1,4})\s?(min|h|d)")
_CONTROLS = ("04-*", "20-*", "35-*", "69-*")
_CONTROL_CASES = ("backup_split", "any_order", "backup_partial", "busy_nowait")
_HINT = "docs/nightly.md has every key"


def parse_clock(value: object) -> tuple[int, int]:
    """`06:00` -> hour and minute."""
    match = _CLOCK.fullmatch(as_text(value))
    if match is None:
        raise UserError(f"{value!r} is no time of day", hint="such as 06:00")
    return int(match[1]), int(match[2])


def parse_budget(value: object) -> float:
    """`90min`, `4h`, `1d` -> seconds."""
    match = _BUDGET.fullmatch(as_text(value).strip())
    if match is None:
        raise UserError(f"{value!r} is no length of time", hint="such as 90min, 4h, 1d")
    return int(match[1]) * {"min": 60.0, "h": 3600.0, "d": 86400.0}[match[2]]


def _name(value: object) -> str:
    name = as_text(value)
    if not _NAME.fullmatch(name):
        raise UserError(f"{name!r} is no name", hint="small letters, digits, dots and hyphens")
    return name


def _line(value: object) -> str:
    text = as_text(value)
    if not text.isprintable():
        raise UserError("must be a text in one line")
    return text


def _texts(value: object) -> tuple[str, ...]:
    return each(_line, value)


def _age(value: object) -> int:
    return parse_age(as_text(value))


def _size(value: object) -> int:
    return parse_size(as_text(value))


def _count(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 1000:
        raise UserError(f"{value!r} is no number from 1 to 1000")
    return value


def _source(value: object) -> SourceSpec:
    return SourceSpec.parse(as_text(value))


def _addresses(value: object) -> tuple[str, ...]:
    texts = _texts(value)
    addresses("the receiver", texts)
    return texts


def _address(value: object) -> str:
    text = _line(value)
    addresses("the sender", (text,))
    return text


def _server(value: object) -> str:
    mail_server(_line(value))
    return _line(value)


def _project(value: object) -> str:
    patchwork_project(_line(value))
    return _line(value)


def _url(value: object) -> str:
    text = _line(value)
    if not re.fullmatch(r"(https?|file)://[^\s?#]+", text):
        raise UserError(f"{text!r} is no address of a directory", hint="https://HOST/PATH")
    return text.rstrip("/")


def _origin(value: object) -> str:
    return require_origin(_line(value))


def _command(value: object) -> str:
    command_words(_line(value))
    return _line(value)


@dataclass(frozen=True, slots=True)
class SourceWatch:
    """`[[source]]`: a `source` as of `run`, or a repository `git` with globs over its branches and tags, `refs`, of
    which the `newest` of each are taken; `fetch` is a remote to fetch first. With `only_for_series` it has no job.
    """

    name: str = field(metadata=read_by(_name))
    source: SourceSpec | None = field(default=None, metadata=read_by(_source))
    git: str = field(default="", metadata=read_by(_line))
    refs: tuple[str, ...] = field(default=(), metadata=read_by(_texts))
    newest: int = field(default=1, metadata=read_by(_count))
    fetch: str = field(default="", metadata=read_by(_line))
    plan: str = field(default="", metadata=read_by(_line))
    only_for_series: bool = False


@dataclass(frozen=True, slots=True)
class SeriesWatch:
    """`[[series]]`: one of a `lore` thread, a public-inbox `archive`, a `patchwork` project, a directory of `mboxes`.

    Of each series that fits (`subjects`, `files`) the newest `revisions` are run on the kernels of its `sources`.
    Of an archive the mails of the last `since` seconds are looked at. `checks`: the project of a patchwork to which
    what came out is posted.
    """

    name: str = field(metadata=read_by(_name))
    sources: tuple[str, ...] = field(metadata=read_by(_texts))
    lore: str = field(default="", metadata=read_by(_line))
    archive: str = field(default="", metadata=read_by(_line))
    patchwork: str = field(default="", metadata=read_by(_line))
    mboxes: str = field(default="", metadata=read_by(_line))
    subjects: tuple[str, ...] = field(default=(), metadata=read_by(_texts))
    files: tuple[str, ...] = field(default=(), metadata=read_by(_texts))
    revisions: int = field(default=2, metadata=read_by(_count))
    since: int = field(default=30 * 86400, metadata=read_by(_age))
    plan: str = field(default="", metadata=read_by(_line))
    checks: str = field(default="", metadata=read_by(_project))

    @property
    def watched(self) -> Watched:
        return Watched(self.subjects, self.files)


@dataclass(frozen=True, slots=True)
class ControlConfig:
    """`[control]`: the bugs that take turns, one a night, by globs over their names, and the cases that see them."""

    suite: str = field(default="pressure", metadata=read_by(_line))
    names: tuple[str, ...] = field(default=_CONTROLS, metadata=read_by(_texts))
    cases: tuple[str, ...] = field(default=_CONTROL_CASES, metadata=read_by(_texts))
    source: str = field(default="", metadata=read_by(_line))
    ram: int = field(default=256 * MIB, metadata=read_by(_size))
    swap: str = field(default="disk:1G", metadata=read_by(_line))
    off: bool = False
    always: bool = False

    @property
    def machine(self) -> Machine:
        return Machine(self.ram, Swap.parse(self.swap))


@dataclass(frozen=True, slots=True)
class KeepConfig:
    """`[keep]`: how long runs are kept (`age`), how many bytes they may take, what else goes when it is not used."""

    age: int | None = field(default=None, metadata=read_by(_age))
    size: int | None = field(default=None, metadata=read_by(_size))
    unused: int | None = field(default=None, metadata=read_by(_age))


@dataclass(frozen=True, slots=True)
class GuardConfig:
    """`[guard]`: nothing is begun while the store's disk has less free, or the host less room for guests."""

    disk: int = field(default=10 * GIB, metadata=read_by(_size))
    ram: int = field(default=0, metadata=read_by(_size))


@dataclass(frozen=True, slots=True)
class MailConfig:
    """`[publish.mail]`: who writes (`from`) to whom (`to`; else the author of the series). Without a server, `send`,
    there are only drafts.
    """

    sender: str = field(default="", metadata={"key": "from", **read_by(_address)})
    to: tuple[str, ...] = field(default=(), metadata=read_by(_addresses))
    send: str = field(default="", metadata=read_by(_server))


@dataclass(frozen=True, slots=True)
class PublishConfig:
    """`[publish]`: the directory for summaries, reports and the site; the nightly's own in the store where none is
    named. `url` is where people find that directory, `origin` a name for KCIDB, `notify` a command.
    """

    directory: str = field(default="", metadata=read_by(_line))
    url: str = field(default="", metadata=read_by(_url))
    site: bool = True
    origin: str = field(default=ORIGIN, metadata=read_by(_origin))
    notify: str = field(default="", metadata=read_by(_command))
    mail: MailConfig = MailConfig()


@dataclass(frozen=True, slots=True)
class NightlyConfig:
    """The whole file. Without `budget` and `until` a night ends when all is done. `tries`: in how many nights what
    could not be told is tried.
    """

    name: str = field(default="", metadata=read_by(_name))
    plan: str = field(default="quick", metadata=read_by(_line))
    known: tuple[str, ...] = field(default=(), metadata=read_by(_texts))
    budget: float | None = field(default=None, metadata=read_by(parse_budget))
    until: tuple[int, int] | None = field(default=None, metadata=read_by(parse_clock))
    parallel: int | None = field(default=None, metadata=read_by(_count))
    jobs: int | None = field(default=None, metadata=read_by(_count))
    tries: int = field(default=3, metadata=read_by(_count))
    source: tuple[SourceWatch, ...] = ()
    series: tuple[SeriesWatch, ...] = ()
    control: ControlConfig = ControlConfig()
    keep: KeepConfig = KeepConfig()
    guard: GuardConfig = GuardConfig()
    publish: PublishConfig = PublishConfig()

    def plan_of(self, watch: SourceWatch | SeriesWatch) -> str:
        return watch.plan or self.plan


def read_nightly(path: Path) -> NightlyConfig:
    """The file, checked; one without a name has that of the file. UserError has a line for every mistake."""
    text = text_of(path)
    config = structure(NightlyConfig, to_table(text, str(path)), text, str(path), _HINT)
    if wrong := tuple(_mistakes(config)):
        raise refusal(wrong, text, str(path), _HINT)
    plans = [*map(config.plan_of, config.source), *map(config.plan_of, config.series)]
    for plan in dict.fromkeys(plans):
        load_plan(plan, path.absolute().parent)
    return config if config.name else _named(config, path)


def _named(config: NightlyConfig, path: Path) -> NightlyConfig:
    name = re.sub(r"[^a-z0-9._-]", "-", path.stem.lower()).lstrip("._-")[:64]
    return replace(config, name=name or "nightly")


def _mistakes(config: NightlyConfig) -> list[Mistake]:
    wrong: list[Mistake] = []
    if not config.source:
        wrong.append((("source",), "nothing is watched: a [[source]] is needed, for a series, too"))
    names = [one.name for one in config.source]
    for number, one in enumerate(config.source):
        if one.name in names[:number]:
            wrong.append((("source", number, "name"), f"{one.name} is there twice"))
        if (one.source is None) == (not one.git):
            wrong.append((("source", number), "needs either source or git"))
        if bool(one.git) != bool(one.refs):
            wrong.append((("source", number), "git and refs go together"))
        if one.fetch and (not one.git or one.fetch.startswith("-")):
            wrong.append((("source", number, "fetch"), "is a remote of the repository that git names"))
    watches = [one.name for one in config.series]
    for number, series in enumerate(config.series):
        if series.name in watches[:number]:
            wrong.append((("series", number, "name"), f"{series.name} is there twice"))
        places = [one for one in (series.lore, series.archive, series.patchwork, series.mboxes) if one]
        if len(places) != 1:
            wrong.append((("series", number), "needs one of lore, archive, patchwork, mboxes"))
        for source in series.sources:
            if source not in names:
                wrong.append((("series", number, "sources"), f"there is no [[source]] {source!r}"))
    if config.publish.mail.send and not config.publish.mail.sender:
        wrong.append((("publish", "mail", "send"), "sends nothing without a from"))
    if config.control.source and config.control.source not in names:
        wrong.append((("control", "source"), f"there is no [[source]] {config.control.source!r}"))
    return wrong
