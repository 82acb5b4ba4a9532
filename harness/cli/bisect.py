# SPDX-License-Identifier: GPL-2.0-only
"""`ttm-harness bisect`: the first bad patch, revision, commit or release."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from harness.cli.containment import look_at_containment
from harness.cli.guests import GuestOptions
from harness.cli.plainly import speaks_plainly, tell
from harness.cli.progress import TerminalProgress
from harness.cli.searches import (
    Looked,
    command_words,
    parse_budget,
    parse_percent,
    request_of,
    search_options,
    without_paths,
)
from harness.model.errors import HarnessError, UserError
from harness.store.layout import Layout

if TYPE_CHECKING:
    from harness.flow.bisect import Question
    from harness.flow.candidates import Candidate
    from harness.flow.request import Request

_ABORT = 128  # which ends `git bisect run`; 1 to 127 would say that the commit is bad


class _ForGit(click.Command):
    """With --git-step a mistake in the options is none of the commit's: click's own status would be."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        for_git = "--git-step" in args
        try:
            return super().parse_args(ctx, args)
        except click.UsageError as error:
            if not for_git:
                raise
            error.show()
            sys.exit(_ABORT)


@click.command(cls=_ForGit)
@click.option(
    "--over",
    multiple=True,
    metavar="SOURCE|A..B",
    help="What to search, the good end first and the bad end last: sources, git:DIR@A..B, debian:A..B, "
    "kernel.org:A..B. Without it: the patches of --series.",
)
@click.option("--revisions", metavar="A..B", help="Search the revisions of --series, as in v3..v7.")
@click.option(
    "--git-step",
    is_flag=True,
    help="One step of `git bisect run`: the tree in this directory; status 0 good, 1 bad, 125 neither.",
)
@click.option("--confidence", default="95%", show_default=True, help="How sure the answer must be.")
@click.option(
    "--fails", default="67%", show_default=True, metavar="SHARE", help="How often a bad one fails, as far as known."
)
@click.option("--most", type=click.IntRange(1, 10_000), default=100, show_default=True, help="Boots at most.")
@click.option("--budget", metavar="TIME", help="How long it may take, as in 30m.")
@click.option("--mail", type=click.Path(path_type=Path, dir_okay=False), help="Write the draft of a mail there.")
@click.option("--json", "as_json", is_flag=True, help="The result as one JSON object on standard output.")
@speaks_plainly
@search_options
def bisect(
    over: tuple[str, ...],
    revisions: str | None,
    git_step: bool,
    confidence: str,
    fails: str,
    most: int,
    budget: str | None,
    mail: Path | None,
    as_json: bool,
    wanted: GuestOptions,
    looked: Looked,
) -> None:
    """Find the first bad patch, revision, commit or release.

    No boot is taken for the truth: how often a bad kernel fails is estimated as it goes, and a kernel is booted as
    often as it takes to be sure. One that does not build, or fails in another way, is no evidence. The same command
    goes on where it was ended, and takes results that are there.

    \b
    Exit status: 1 the first bad one is found; 2 a mistake in the input, as a good end
    that is bad; 3 could not tell. With --git-step: 0, 1, 125, and 128 for a mistake.
    """
    if git_step:
        sys.exit(_git_step(wanted, looked, most, confidence, fails))
    from harness.flow.bisect import bisect as search
    from harness.flow.laboratory import Laboratory
    from harness.model.codec import to_json
    from harness.reports.bisect import bisect_mail, print_bisect
    from harness.store.files import write_atomically

    progress = TerminalProgress(quiet=wanted.quiet)
    layout = Layout.from_environment()
    try:
        asked = _question(looked, request_of(_based(wanted, over), looked, progress), confidence, fails, most, budget)
        look_at_containment(wanted.untrusted)
        candidates = _candidates(over, revisions, wanted, asked.request, layout, progress)
        name = repr((tuple(one.kernel for one in candidates), replace(asked.request, seed=None), looked))
        laboratory = Laboratory(name, layout, progress, wanted.jobs)
        output = search(candidates, asked, laboratory, progress)
        commit = candidates[output.last].commit if output.last < len(candidates) else ""
        output = replace(output, mail=bisect_mail(replace(output, command=without_paths(output.command)), commit))
        write_atomically(laboratory.place / "bisect.json", to_json(output))
        if mail is not None and output.mail:
            write_atomically(mail, output.mail)
    finally:
        progress.close()
    if as_json:
        click.echo(to_json(output), nl=False)
    else:
        print_bisect(output, laboratory.place, sys.stdout)
    sys.exit(output.found.exit_status)


def _based(wanted: GuestOptions, over: tuple[str, ...]) -> GuestOptions:
    """With --over there is no source beside it: the first of them stands for it."""
    if over and wanted.source is not None:
        raise UserError("--over says what the sources are, and --source says it again", hint="leave one of them out")
    return replace(wanted, source="debian") if over else wanted


def _question(
    looked: Looked, request: Request, confidence: str, fails: str, most: int, budget: str | None
) -> Question:
    from harness.flow.bisect import Question
    from harness.flow.laboratory import Budget

    return Question(
        request=request,
        predicate=looked.predicate,
        learns=not looked.any_failure,
        confidence=parse_percent(confidence, "--confidence", 50.1, 99.999),
        rate=parse_percent(fails, "--fails", 0.1, 100),
        most=most,
        budget=Budget.of(parse_budget(budget)),
        command=command_words(),
    )


def _candidates(
    over: tuple[str, ...],
    revisions: str | None,
    wanted: GuestOptions,
    request: Request,
    layout: Layout,
    progress: TerminalProgress,
) -> tuple[Candidate, ...]:
    from harness.flow.candidates import checked, of_revisions, of_series
    from harness.flow.candidates import over as over_sources

    if over and revisions:
        raise UserError("--over and --revisions are two searches", hint="one after the other")
    if over:
        return checked(over_sources(over, request.kernel, layout, progress))
    if revisions:
        return checked(of_revisions(request.kernel, revisions))
    if wanted.series is None:
        raise UserError(
            "nothing is named to search", hint="--series S, --series NAME --revisions v3..v7, or --over A --over B"
        )
    kernel = request.kernel
    if wanted.source is None:
        from harness.flow.series import SeriesContext
        from harness.flow.series import base as base_of

        found = base_of(wanted.series, (), SeriesContext(layout, progress, wanted.mirror))
        kernel = replace(kernel, source=found.source)
    return checked(of_series(kernel, layout, progress))


def _git_step(wanted: GuestOptions, looked: Looked, most: int, confidence: str, fails: str) -> int:
    """Everything that is no word about the commit ends the bisection: no mistake may make a commit bad."""
    from harness.cli.plainly import explain
    from harness.flow.bisect import step_of_git
    from harness.flow.candidates import Candidate
    from harness.flow.laboratory import Laboratory

    progress = TerminalProgress(quiet=wanted.quiet)
    try:
        here = replace(wanted, source=wanted.source or str(Path.cwd()))
        request = request_of(here, looked, progress)
        asked = _question(looked, request, confidence, fails, most, None)
        layout = Layout.from_environment()
        laboratory = Laboratory(
            repr(("git step", replace(request, seed=None), looked)), layout, progress, wanted.jobs
        )
        return step_of_git(Candidate("this tree", request.kernel), asked, laboratory, progress)
    except HarnessError as error:
        tell(explain(error))
        return _ABORT
    finally:
        progress.close()
