# SPDX-License-Identifier: GPL-2.0-only
"""`patchwork:URL`: a series from a patchwork instance, by the REST of kernel.org's and of freedesktop's.

kernel.org's (patchwork 2 and later) has one series per revision: /api/series/ID/ and /series/ID/mbox/.
freedesktop's (an older fork) has all revisions of a series under one number, counted by itself and not by the
subjects: /api/1.0/series/ID/ and /api/1.0/series/ID/revisions/N/mbox/.
"""

from __future__ import annotations

import json
import re
import tempfile
import urllib.parse
from dataclasses import dataclass, replace
from pathlib import Path

from harness.inputs.download import NotThere, fetch_file
from harness.inputs.series.assemble import Selection, assemble
from harness.inputs.series.mail import Message
from harness.inputs.series.mbox import FILE_LIMIT, read_file, read_messages
from harness.inputs.source_cache import Work
from harness.model.errors import DeadlineExceeded, InfraError, UserError
from harness.model.progress import Progress
from harness.model.series import Series
from harness.model.units import format_size

_SERIES = re.compile(r"/(?:api/(?:\d\.\d/)?)?series/(\d{1,12})(?:/|$)")
_LISTED = re.compile(r"(?:^|&)series=(\d{1,12})(?:&|$)")
_REVISION = re.compile(r"/revisions/(\d{1,4})(?:/|$)")
_FRAGMENT = re.compile(r"rev(\d{1,4})")
_PATCH = re.compile(r"(/(?:project/[^/]+/)?patch/[^/]+)/?")
_PROJECT = re.compile(r"/project/([^/\s]{1,100})(?:/|$)")
_NEWEST = 50  # series of a list that are looked at
_HINT = "without a network, fetch the series' mbox elsewhere and give it as mbox:FILE"


@dataclass(frozen=True, slots=True)
class _Capped:
    """A Progress that ends a download which grows without measure."""

    told: Progress
    url: str

    def step(self, text: str) -> None:
        self.told.step(text)

    def advance(self, done: int, total: int, unit: str) -> None:
        if max(done, total) > FILE_LIMIT:
            raise UserError(
                f"{self.url} is larger than {format_size(FILE_LIMIT)}", hint="is it the mbox of a series?"
            )
        self.told.advance(done, total, unit)


class _Site:
    """One patchwork: whatever it says of addresses, only this host is asked."""

    def __init__(self, url: str, work: Work) -> None:
        parts = urllib.parse.urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.netloc or re.search(r"[\s\x00-\x1f]", url):
            raise UserError(
                f"{url!r} is no address of a patchwork", hint="write patchwork:https://HOST/series/NUMBER/"
            )
        self.parts = parts
        self._base = f"{parts.scheme}://{parts.netloc}"
        self._work = work

    def get(self, path: str) -> bytes:
        """What lies there; NotThere when nothing does."""
        url = self._base + urllib.parse.quote(path, safe="/?&=@%:+,;~!$*'()-._")
        work = replace(self._work, progress=_Capped(self._work.progress, url))
        with tempfile.TemporaryDirectory(prefix="harness-patchwork-") as directory:
            file = Path(directory) / "answer"
            try:
                fetch_file(url, file, work)
            except NotThere:
                raise
            except DeadlineExceeded as error:
                raise DeadlineExceeded(f"asking {url}", error.seconds, hint=_HINT) from error
            except InfraError as error:
                raise InfraError(error.message, hint=_HINT) from error
            return read_file(file) if file.exists() else b""

    def json(self, path: str) -> object:
        """The JSON that lies there."""
        try:
            answer: object = json.loads(self.get(path))
        except (ValueError, RecursionError) as error:
            raise InfraError(f"{self._base}{path} is no JSON", hint="is it a patchwork? " + _HINT) from error
        return answer

    def ask(self, path: str) -> dict[str, object]:
        """The JSON object that lies there."""
        answer = self.json(path)
        if not isinstance(answer, dict):
            raise InfraError(f"{self._base}{path} is not what a patchwork says of a series", hint=_HINT)
        return {str(key): value for key, value in answer.items()}

    def messages(self, path: str) -> list[Message]:
        data = self.get(path)
        return read_messages(data, f"{self._base}{path}")


def read_patchwork(url: str, work: Work, wanted: Selection) -> Series:
    """The series, or the one patch, of a patchwork address."""
    site = _Site(url, work)
    path = site.parts.path
    listed = _LISTED.search(site.parts.query)
    match = _SERIES.search(path)
    if match is None and listed is None:
        return _one_patch(site, url, wanted)
    number = (match or listed or [""])[1]
    asked = _REVISION.search(path) or _FRAGMENT.fullmatch(site.parts.fragment)
    if asked is not None or "/api/1.0/" in path:
        return _freedesktop(site, number, int(asked[1]) if asked else None, wanted)
    try:
        facts = site.ask(f"/api/series/{number}/")
    except NotThere:
        return _freedesktop(site, number, None, wanted)
    return _kernel_org(site, number, facts, wanted)


@dataclass(frozen=True, slots=True)
class ListedSeries:
    """A series in a patchwork's list: its name, and where its mbox is, which never changes."""

    name: str
    path: str
    cover: str = ""  # where the cover letter's is


def list_patchwork(url: str, work: Work) -> tuple[ListedSeries, ...]:
    """The newest series of a project, by the address of the project: of kernel.org's kind, else of freedesktop's."""
    site = _Site(url, work)
    match = _PROJECT.search(site.parts.path)
    if match is None:
        raise UserError(f"{url} names no project", hint="write https://HOST/project/NAME/")
    project = urllib.parse.quote(match[1], safe="")
    try:
        answer = site.json(f"/api/series/?project={project}&order=-id&per_page={_NEWEST}")
        return tuple(_listed(one) for one in _objects(answer, site))
    except NotThere:
        answer = site.ask(f"/api/1.0/projects/{project}/series/?ordering=-last_updated&perpage={_NEWEST}")
        return tuple(_listed_revision(one) for one in _objects(answer.get("results"), site))


def fetch_listed(url: str, listed: ListedSeries, work: Work) -> bytes:
    """The mails of a series in the list."""
    site = _Site(url, work)
    data = site.get(listed.path)
    try:
        cover = site.get(listed.cover) if listed.cover else b""
    except NotThere:
        cover = b""  # a cover letter is worth having, not worth failing for
    return cover + b"\n" * bool(cover) + data


def _objects(answer: object, site: _Site) -> list[dict[str, object]]:
    if not isinstance(answer, list) or not all(isinstance(one, dict) and "id" in one for one in answer):
        raise InfraError(f"{site.parts.netloc} has no list of series", hint="is it a patchwork? " + _HINT)
    return answer


def _listed(facts: dict[str, object]) -> ListedSeries:
    cover = facts.get("cover_letter")
    address = cover.get("mbox") if isinstance(cover, dict) else None
    path = urllib.parse.urlsplit(address).path if isinstance(address, str) else ""
    return ListedSeries(str(facts.get("name") or ""), f"/series/{_digits(facts['id'])}/mbox/", path)


def _listed_revision(facts: dict[str, object]) -> ListedSeries:
    number, count = _digits(facts["id"]), _digits(facts.get("version", 1))
    return ListedSeries(str(facts.get("name") or ""), f"/api/1.0/series/{number}/revisions/{count}/mbox/")


def _digits(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 10**12:
        raise InfraError(f"a patchwork's list has {value!r} for a number", hint=_HINT)
    return value


def _kernel_org(site: _Site, number: str, facts: dict[str, object], wanted: Selection) -> Series:
    messages = site.messages(f"/series/{number}/mbox/")
    cover = facts.get("cover_letter")
    address = cover.get("mbox") if isinstance(cover, dict) else None
    if isinstance(address, str):
        try:
            messages = [*site.messages(urllib.parse.urlsplit(address).path), *messages]
        except NotThere:
            pass  # a cover letter is worth having, not worth failing for
    series = assemble(messages, _named(wanted, facts))
    return replace(series, notes=(*series.notes, *_incomplete(facts)))


def _incomplete(facts: dict[str, object]) -> list[str]:
    received, total = facts.get("received_total"), facts.get("total")
    if facts.get("received_all") is False:
        return [f"patchwork itself has received only {received} of {total} patches"]
    return []


def _freedesktop(site: _Site, number: str, revision: int | None, wanted: Selection) -> Series:
    """A revision by patchwork's count, by `@vN` (looked for in the subjects), else the newest."""
    try:
        facts = site.ask(f"/api/1.0/series/{number}/")
    except NotThere as error:
        raise UserError(f"{site.parts.geturl()}: there is no such series", hint="look at the number") from error
    newest = facts.get("version")
    if not isinstance(newest, int) or isinstance(newest, bool) or not 1 <= newest <= 1000:
        raise InfraError(f"series {number} of {site.parts.netloc} has no count of revisions", hint=_HINT)
    wanted = _named(wanted, facts)
    if revision is not None and not 1 <= revision <= newest:
        raise UserError(f"series {number} has no revision {revision}", hint=f"patchwork counts {newest}")
    if revision is not None or wanted.revision is None:
        return _freedesktop_revision(site, number, revision or newest, replace(wanted, revision=None))
    # Patchwork's count runs ahead of the subjects' when somebody sends again, so look from there downwards.
    for count in range(min(newest, wanted.revision + 3), 0, -1):
        messages = site.messages(f"/api/1.0/series/{number}/revisions/{count}/mbox/")
        if any(message.tag.revision == wanted.revision and not message.tag.reply for message in messages):
            return _noted(assemble(messages, wanted), count)
    raise UserError(f"series {number} has no v{wanted.revision}", hint=f"patchwork counts {newest} revisions")


def _freedesktop_revision(site: _Site, number: str, count: int, wanted: Selection) -> Series:
    return _noted(assemble(site.messages(f"/api/1.0/series/{number}/revisions/{count}/mbox/"), wanted), count)


def _noted(series: Series, count: int) -> Series:
    if series.revision == count:
        return series
    note = f"patchwork calls it revision {count}, its subjects v{series.revision}"
    return replace(series, notes=(*series.notes, note))


def _one_patch(site: _Site, url: str, wanted: Selection) -> Series:
    match = _PATCH.match(site.parts.path)
    if match is None:
        raise UserError(
            f"{url} names neither a series nor a patch", hint="write patchwork:https://HOST/series/NUMBER/"
        )
    try:
        messages = site.messages(f"{urllib.parse.unquote(match[1])}/mbox/")
    except NotThere as error:
        raise UserError(f"{url}: there is no such patch", hint="give the address of its series") from error
    return assemble(messages, wanted)


def _named(wanted: Selection, facts: dict[str, object]) -> Selection:
    name = facts.get("name")
    return replace(wanted, name=wanted.name or (name if isinstance(name, str) else ""), gathered=True)
