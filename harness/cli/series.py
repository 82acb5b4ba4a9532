# SPDX-License-Identifier: GPL-2.0-only
"""`ttm-harness series show SERIES` and `ttm-harness series diff A B`: what a series is, and what changed."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from harness.cli.containment import UNTRUSTED, look_at_containment
from harness.cli.options import TREE_OPTION
from harness.cli.plainly import EXIT_FINDING, speaks_plainly
from harness.cli.progress import TerminalProgress
from harness.model.build import DEFAULT_PROFILE
from harness.store.layout import Layout

if TYPE_CHECKING:  # what is imported where it is used: the help of a verb waits for none of it
    from harness.flow.series import SeriesContext
    from harness.model.series import Patch, PatchPair, Series, SeriesDiff

_SHORT = 12
_MARKS = {"same": "=", "changed": "!", "added": "+", "dropped": "-", "merged": "<", "split": ">", "absent": "?"}
_MIRROR = click.option(
    "--mirror",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    help="A directory of mboxes to ask instead of lore, for NAME@vN.",
)
_JSON = click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
_QUIET = click.option("--quiet", is_flag=True, help="No progress.")


@click.group()
def series() -> None:
    """A patch series: what it is, what changed between two revisions."""


@series.command()
@click.option("--site", default="", metavar="URL", help="Where `results site` is published: entries lead there.")
@_JSON
@speaks_plainly
def check(site: str, as_json: bool) -> None:
    """What the newest kept run says of the patch on standard input, as b4 wants it from a check command.

    \b
    git config b4.prep-perpatch-check-cmd 'ttm-harness series check'
    git config b4.review-perpatch-check-cmd 'ttm-harness series check --json'
    Nothing is built here: `run --series` and `series gate` do that. Exit status: 0 all is well;
    1 a finding; 3 there are warnings, or no run has the patch.
    """
    from harness.flow.b4 import b4_json, b4_lines, said_of, worst

    said = said_of(sys.stdin.buffer.read(), Layout.to_read())
    for line in [b4_json(said, site)] if as_json else b4_lines(said):
        click.echo(line)
    sys.exit(worst(said).exit_status)


@series.command()
@click.argument("name", metavar="SERIES")
@click.option("--files", is_flag=True, help="Name the files of each patch.")
@_MIRROR
@_JSON
@_QUIET
@speaks_plainly
def show(name: str, files: bool, mirror: Path | None, as_json: bool, quiet: bool) -> None:
    """What SERIES is: patches, files, trailers, base, and what is missing.

    \b
    SERIES is mbox:FILE, dir:PATH, git:DIR@A..B, lore:MSGID, patchwork:URL, a file or
    an address, or NAME@vN for patches/NAME/series.toml. Put @vN behind an mbox with
    several revisions. Exit status: 0 it is whole; 1 patches are missing, doubled,
    damaged or would be refused; 2 there is no series to be seen.
    """
    from harness.flow.series import show as series_of
    from harness.flow.series import touches_of

    found = series_of(name, _asker(mirror, quiet))
    if as_json:
        from harness.model.codec import to_json
        from harness.model.series import SERIES_SCHEMA, SeriesOutput

        adds, dels = _stats(found)
        output = SeriesOutput(SERIES_SCHEMA, found.id, found.whole, adds, dels, found, touches_of(found))
        click.echo(to_json(output), nl=False)
    else:
        _print_series(found, files)
    if not found.whole:
        sys.exit(EXIT_FINDING)


@series.command()
@click.argument("old", metavar="A")
@click.argument("new", metavar="B")
@click.option("--stat", is_flag=True, help="The table alone, without the differences.")
@_MIRROR
@_JSON
@_QUIET
@speaks_plainly
def diff(old: str, new: str, stat: bool, mirror: Path | None, as_json: bool, quiet: bool) -> None:
    """What changed from series A to series B (B may be just vN: another revision of A).

    \b
    = the same; ! changed; + added; - dropped; < merged into another patch;
    > split off from another patch; ? the other side lacks mails, one of which may be
    this patch; ~ behind the mark: it changed places.
    """
    from harness.flow.series import diff as diff_of

    found = diff_of(old, new, _asker(mirror, quiet))
    if as_json:
        from harness.model.codec import to_json
        from harness.model.series import SERIES_DIFF_SCHEMA, SeriesDiffOutput

        click.echo(to_json(SeriesDiffOutput(SERIES_DIFF_SCHEMA, found.same, found)), nl=False)
    else:
        _print_diff(found, stat)


@series.command("base")
@click.argument("name", metavar="SERIES")
@TREE_OPTION
@click.option("--yes", is_flag=True, help="Download Debian's sources to look at them, without a question.")
@_MIRROR
@_JSON
@_QUIET
@speaks_plainly
def base_(name: str, trees: tuple[Path, ...], yes: bool, mirror: Path | None, as_json: bool, quiet: bool) -> None:
    """The source that SERIES was made for: what it states, what its diffs say, where all of it applies.

    Sources that would have to be downloaded are named with their sizes, and fetched only after a yes.
    Exit status: 0 there is one; 1 no source takes all of it, with the nearest.
    """
    from harness.flow.series import SeriesContext
    from harness.flow.series import base as base_of

    progress = TerminalProgress(quiet=quiet)
    try:
        context = SeriesContext(
            Layout.from_environment(), progress, mirror, lambda question: yes or _confirmed(question)
        )
        found = base_of(name, trees, context)
    finally:
        progress.close()
    if as_json:
        from harness.model.codec import to_json
        from harness.model.series import SERIES_BASE_SCHEMA, SeriesBaseOutput

        click.echo(to_json(SeriesBaseOutput(SERIES_BASE_SCHEMA, str(found.source), found.why, found.tried)), nl=False)
    else:
        click.echo(f"{found.source}  ({found.why})")


@series.command("gate")
@click.argument("name", metavar="SERIES")
@click.option("--source", help="The kernel below the first patch.  [default: what `series base` finds]")
@TREE_OPTION
@click.option("--profile", default=DEFAULT_PROFILE, show_default=True)
@click.option("--only", type=click.Choice(["touched"]), help="Compile only what each patch touches: seconds a patch.")
@click.option("--jobs", type=click.IntRange(1, 1024), help="make -j; the number of cores when not given.")
@click.option("--strict", is_flag=True, help="An ERROR of checkpatch makes a patch bad; else it is only shown.")
@UNTRUSTED
@_MIRROR
@_JSON
@_QUIET
@speaks_plainly
def gate_(
    name: str,
    source: str | None,
    trees: tuple[Path, ...],
    profile: str,
    only: str | None,
    jobs: int | None,
    strict: bool,
    untrusted: bool,
    mirror: Path | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Every patch of SERIES by itself: applies, checkpatch, its objects, new warnings, the whole build.

    Exit status: 0 all good; 1 a patch is bad; 3 something could not be checked, or the series is not whole.
    """
    from harness.flow.gate import GateRequest, gate
    from harness.flow.series import SeriesContext
    from harness.flow.series import base as base_of
    from harness.model.codec import to_json
    from harness.model.series import SeriesSpec
    from harness.model.tree import SourceSpec
    from harness.reports.gate import print_gate

    look_at_containment(untrusted)
    progress = TerminalProgress(quiet=quiet)
    layout = Layout.from_environment()
    try:
        kernel = (
            SourceSpec.parse(source)
            if source
            else base_of(name, trees, SeriesContext(layout, progress, mirror)).source
        )
        request = GateRequest(SeriesSpec.parse(name), kernel, profile, only == "touched", mirror, jobs, strict)
        found = gate(request, layout, progress)
    finally:
        progress.close()
    if as_json:
        click.echo(to_json(found), nl=False)
    else:
        print_gate(found, sys.stdout)
    sys.exit(found.verdict.exit_status)


def _confirmed(question: str) -> bool:
    """What the user says; without a terminal nothing is downloaded that nobody asked for."""
    return sys.stdin.isatty() and click.confirm(f"{question} Go on?", err=True)


def _asker(mirror: Path | None, quiet: bool) -> SeriesContext:
    from harness.flow.series import SeriesContext

    return SeriesContext(Layout.from_environment(), TerminalProgress(quiet), mirror)


def _stats(found: Series) -> tuple[int, int]:
    return sum(patch.adds for patch in found.patches), sum(patch.dels for patch in found.patches)


def _print_series(found: Series, files: bool) -> None:
    adds, dels = _stats(found)
    paths = {path for patch in found.patches for path in patch.paths}
    click.echo(f"{found.label}: {len(found.patches)} of {found.total} patches, {len(paths)} files, +{adds} -{dels}")
    click.echo(f"from      {found.spec}")
    click.echo(f"identity  {found.id}")
    if found.cover is not None:
        click.echo(f"cover     {found.cover.subject}  <{found.cover.message_id}>  {found.cover.date}")
    click.echo(f"base      {found.base_commit or 'not stated'}")
    for name in found.prerequisites:
        click.echo(f"needs     {name}")
    if found.replies:
        click.echo(f"replies   {found.replies}, read for their trailers")
    click.echo()
    for problem in found.problems:
        click.echo(f"problem: {problem}")
    from harness.flow.series import touches_of
    from harness.model.series import say_build_time

    touches = touches_of(found)
    for patch in found.patches:
        _print_patch(patch, files)
        if said := say_build_time(tuple(one for one in touches if one.position == patch.position)):
            click.echo(f"         {said}")
    for number in found.missing[:40]:
        click.echo(f"{number:>3}/{found.total}  missing")
    for note in found.notes:
        click.echo(f"note: {note}")


def _print_patch(patch: Patch, files: bool) -> None:
    click.echo(
        f"{patch.position:>3}/{patch.total}  {patch.patch_id[:_SHORT]}  "
        f"{len(patch.files):>3} files {'+' + str(patch.adds):>6} {'-' + str(patch.dels):>6}  {patch.subject}"
    )
    if files:
        for change in patch.files:
            was = f" from {change.old_path}" if change.old_path else ""
            click.echo(f"         {change.kind:<8} {change.path}{was}  +{change.adds} -{change.dels}")
    for trailer in patch.trailers:
        source = f"  (by reply <{trailer.source}>)" if trailer.source else ""
        if trailer.key.lower() != "cc":
            click.echo(f"         {trailer.key}: {trailer.value}{source}")
    for note in patch.notes:
        click.echo(f"         note: {note}")


def _print_diff(found: SeriesDiff, stat: bool) -> None:
    from harness.model.series import Relation

    click.echo(f"{found.old} -> {found.new}")
    for pair in found.pairs:
        mark = _MARKS[pair.relation] + ("~" if pair.moved else " ")
        click.echo(f"{pair.old or '-':>4} {mark} {pair.new or '-':>4}  {pair.subject}{_remark(pair)}")
        if pair.diff and not stat:
            for line in pair.diff.split("\n"):
                click.echo(f"          {line}")
    counts = {relation: sum(pair.relation is relation for pair in found.pairs) for relation in Relation}
    moved = sum(pair.moved for pair in found.pairs)
    words = [f"{count} {relation}" for relation, count in counts.items() if count]
    for note in found.notes:
        click.echo(f"note: {note}")
    click.echo(", ".join([*words, *([f"{moved} moved"] if moved else [])]) or "no patches on either side")


def _remark(pair: PatchPair) -> str:
    from harness.model.series import Relation

    match pair.relation:
        case Relation.MERGED:
            return f"  (merged: {pair.similarity:.0%} of its lines are in {pair.other})"
        case Relation.SPLIT:
            return f"  (split off: {pair.similarity:.0%} of its lines were in {pair.other})"
        case Relation.ABSENT:
            return f"  (perhaps missing from the mails of the {'new' if pair.old else 'old'} one)"
        case Relation.CHANGED:
            return f"  ({', '.join(pair.changes)}; {pair.similarity:.0%} alike)"
        case _:
            return ""
