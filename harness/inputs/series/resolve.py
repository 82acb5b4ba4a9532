# SPDX-License-Identifier: GPL-2.0-only
"""A series as the user named it -> a Series. The one door into this room for patch series."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import assert_never

from harness.inputs.series.assemble import Selection, assemble
from harness.inputs.series.mbox import is_html, is_mail, read_file, read_messages
from harness.inputs.source_cache import Work
from harness.model.errors import UserError
from harness.model.series import SERIES_FORMS, Series, SeriesForm, SeriesSpec


@dataclass(frozen=True, slots=True)
class FetchOptions:
    """How a series may be got: `partial` lists what is missing or damaged instead of refusing it; `mirror` is a
    directory of mboxes to ask instead of lore; `patches` stands for the checkout's patches/.
    """

    partial: bool = False
    mirror: Path | None = None
    patches: Path | None = None


PLAIN = FetchOptions()


def resolve_series(spec: SeriesSpec, work: Work, means: FetchOptions = PLAIN) -> Series:
    """The series that `spec` names.

    UserError when it is not whole (unless `partial`) or not to be understood, with the mail and the line;
    InfraError when another try may help. Nothing is checked against a tree here: `validate` and `apply` do.
    """
    # Of the readers only the one that is asked for is imported: those that fetch take as long as the rest together.
    pick = spec.what if spec.form is SeriesForm.MBOX else ""
    wanted = Selection(str(spec), revision=spec.revision, partial=means.partial, pick=pick)
    path = Path(spec.where).expanduser()
    match spec.form:
        case SeriesForm.MBOX:
            return assemble(read_messages(read_file(path), path.name), wanted)
        case SeriesForm.DIRECTORY:
            from harness.inputs.series.directory import read_directory

            return read_directory(path, wanted)
        case SeriesForm.GIT:
            from harness.inputs.series.gitrange import read_git_range

            return read_git_range(spec, work, wanted)
        case SeriesForm.LORE:
            from harness.inputs.series.lore import read_lore

            return read_lore(spec.where, work, wanted)
        case SeriesForm.PATCHWORK:
            from harness.inputs.series.patchwork import read_patchwork

            return read_patchwork(spec.where, work, wanted)
        case SeriesForm.FILE:
            return _guess(path, wanted)
        case SeriesForm.NAME:
            from harness.inputs.series.descriptor import known_series, read_named

            if path.exists() and spec.where not in known_series(means.patches):
                return _guess(path, wanted)
            return read_named(spec, work, wanted, means.mirror, means.patches)
        case _:
            assert_never(spec.form)


def _guess(path: Path, wanted: Selection) -> Series:
    """What a path is, by what is in it."""
    if path.is_dir():
        from harness.inputs.series.directory import read_directory

        return read_directory(path, wanted)
    if not path.exists():
        raise UserError(f"there is no file {path}", hint=f"a series is {SERIES_FORMS}")
    data = read_file(path)
    if data.strip() and is_mail(data) and not is_html(data):
        return assemble(read_messages(data, path.name), wanted)
    from harness.inputs.series.page import read_page

    series = read_page(data, path.name, wanted.spec)
    if series.whole or wanted.partial:
        return series
    missing = ", ".join(map(str, series.missing[:40]))
    raise UserError(
        f"{path.name} holds only patch {series.patches[0].position} of {series.total} of v{series.revision}; "
        f"missing: {missing}",
        hint="give the whole series; series show says what this one is",
    )


def lone(series: Series) -> Series:
    """A part of a series as a series of its own, for who wants to apply just that: nothing is missing of it."""
    return replace(series, missing=(), problems=(), notes=(*series.notes, *_lacks(series)))


def _lacks(series: Series) -> list[str]:
    if not series.missing:
        return []
    return [f"patches {', '.join(map(str, series.missing[:40]))} of {series.total} are not there"]
