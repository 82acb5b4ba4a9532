# SPDX-License-Identifier: GPL-2.0-only
"""`ttm-harness run`: the main job, from a source to a verdict."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

from harness.cli import completion
from harness.cli.caselists import read_lists
from harness.cli.containment import UNTRUSTED, look_at_containment
from harness.cli.hosts import hosts_at
from harness.cli.machine_axes import machine_axes
from harness.cli.options import ON_OPTION, SHARE_OPTION, TREE_OPTION
from harness.cli.plainly import speaks_plainly
from harness.cli.progress import TerminalProgress
from harness.cli.searches import parse_budget
from harness.model.errors import UserError
from harness.store.layout import Layout
from harness.trace import tracing

if TYPE_CHECKING:  # what is imported where it is used: the help waits for none of it
    from harness.flow.planfile import Axes, MachineAxes, SuiteName
    from harness.flow.plans import Extras
    from harness.flow.request import Request
    from harness.flow.run import RunOptions
    from harness.model.machine import Machine

_MANY_BOOTS = 500
_BUDGET_SECONDS = 60.0  # of --presubmit
_MOST_BOOTS = 20_000


@click.command()
@click.argument("plan", default="", shell_complete=completion.plans)
@click.option(
    "--source",
    shell_complete=completion.sources,
    help="debian[:VERSION], DIR, git:DIR@REV, tar:FILE, kernel.org[:VERSION]  "
    "[default: debian; kernel.org where apt is not the host's own]",
)
@click.option(
    "--series",
    help="Patches on top, with the source as base: mbox:FILE, dir:PATH, git:DIR@A..B, lore:MSGID, NAME@vN, …",
)
@click.option(
    "--mirror",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    help="A directory of mboxes to ask instead of lore.",
)
@TREE_OPTION
@click.option(
    "--base",
    shell_complete=completion.sources,
    help="A source to compare with: both are run, in turn, and what changed is judged.",
)
@click.option("--profile", help="A profile of kernel-configs/profiles.toml.  [default: lean]")
@click.option(
    "--fragment",
    "fragments",
    multiple=True,
    type=click.Path(path_type=Path),
    help="Your own Kconfig fragment, on top of the profile.",
)
@click.option(
    "--suite",
    "suites",
    shell_complete=completion.suites,
    help="Suites, with commas; your own by its folder.  [default: the quick ones]",
)
@click.option("--repeat", type=click.IntRange(1, 10_000), help="Boots of each cell.  [default: 1]")
@click.option("--until-fail", is_flag=True, help="With --repeat: the first bad boot is the last.")
@click.option("--stress", is_flag=True, help="Pause, throttle and pin the guests at moments that chance chooses.")
@click.option("--seed", type=click.IntRange(0, 2**32 - 1), help="Seed of the first boot; a plan has its own, or 1.")
@click.option(
    "--case",
    "cases",
    multiple=True,
    metavar="GLOB|!GLOB|@FILE[,…]",
    help="Only these cases, without those of !GLOB; lists in files, too; given again for more.",
)
@click.option("--igt", metavar="DIR|tar:FILE", help="Your IGT tests, built or installed, for the igt suites.")
@click.option("--knob", "knobs", multiple=True, metavar="NAME=VALUE[,…]", help="Parameters of the suites.")
@click.option("--known", multiple=True, metavar="FILE", help="Known issues, which do not count; `shipped`: our own.")
@click.option("--jobs", type=click.IntRange(1, 1024), help="make -j; the number of cores when not given.")
@click.option(
    "--parallel", type=click.IntRange(1, 1024), help="Guests side by side at most; else as the host allows."
)
@ON_OPTION
@SHARE_OPTION
@click.option("--fresh", is_flag=True, help="With a plan or --presubmit: boot again what has a kept result, too.")
@click.option("--list", "list_only", is_flag=True, help="Show the boots and about how long they take, and end.")
@click.option(
    "--resume", "resumed", is_flag=False, flag_value="", metavar="[RUN]", help="Go on with an unfinished run."
)
@click.option("--yes", is_flag=True, help=f"Do not ask before more than {_MANY_BOOTS} boots.")
@click.option(
    "--presubmit",
    is_flag=True,
    help="A first answer, of the few cases that caught the controls in the functions that differ.",
)
@click.option("--budget", metavar="TIME", help="With --presubmit: what the cases may take.  [default: 60s]")
@click.option("--every", is_flag=True, help="The suites on every patch of the series, not on the last alone.")
@click.option(
    "--gate/--no-gate",
    default=None,
    help="Check each patch of a series by itself first.  [default: gate; with --presubmit no-gate]",
)
@click.option(
    "--keep-state",
    is_flag=True,
    help="Keep the guest's memory where a case fails, at a panic, at a hang; see `inspect`.",
)
@click.option(
    "--trace",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write where the time went into this file, for ui.perfetto.dev or chrome://tracing.",
)
@click.option(
    "--machine-console",
    default="",
    metavar="COMMAND|netconsole[:PORT]",
    help="Prints the test machine's serial line; or its kernel is listened to over the network.",
)
@click.option(
    "--machine-power", default="", metavar="COMMAND", help="Restarts a test machine that does not come back."
)
@UNTRUSTED
@click.option("--json", "as_json", is_flag=True, help="The report as one JSON object on standard output.")
@click.option("--quiet", is_flag=True, help="No progress.")
@speaks_plainly
@machine_axes
def run(
    plan: str,
    source: str | None,
    series: str | None,
    mirror: Path | None,
    trees: tuple[Path, ...],
    base: str | None,
    profile: str | None,
    fragments: tuple[Path, ...],
    machine: MachineAxes,
    suites: str | None,
    repeat: int | None,
    until_fail: bool,
    stress: bool,
    seed: int | None,
    cases: tuple[str, ...],
    igt: str | None,
    knobs: tuple[str, ...],
    known: tuple[str, ...],
    jobs: int | None,
    parallel: int | None,
    where: str,
    share: str,
    fresh: bool,
    list_only: bool,
    resumed: str | None,
    yes: bool,
    presubmit: bool,
    budget: str | None,
    every: bool,
    gate: bool | None,
    keep_state: bool,
    trace: Path | None,
    machine_console: str,
    machine_power: str,
    untrusted: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Build a kernel, boot it small, run suites in it, and say what came out.

    Without options: the newest kernel source that has the merged TTM shrinker, in 256M of RAM with 1G of swap.
    PLAN is a TOML file, or one of those in harness/plans; options stand in place of its own words.
    """
    from harness.flow.igt_suite import keep_igt
    from harness.flow.kernels import each_patch
    from harness.flow.known_issues import read_known
    from harness.flow.matrix import matrix_of, with_seeds
    from harness.flow.planfile import Axes, Glob, KnobAxes, OptionalSeries, ProfileName
    from harness.flow.plans import Extras, default_source, load_plan, plain_request, requests_of
    from harness.flow.run import RunOptions, execute, resume
    from harness.flow.test_machines import hands_of
    from harness.model.series import SeriesSpec
    from harness.model.tree import SourceSpec
    from harness.model.words import parse_globs, parse_knobs

    said = Axes(
        source=_one(source, SourceSpec.parse),
        base=_one(base, SourceSpec.parse),
        series=_one(series, lambda text: OptionalSeries(SeriesSpec.parse(text))),
        profile=_one(profile, ProfileName),
        suites=_suites(suites),
        cases=tuple(Glob(text) for text in parse_globs(read_lists(cases))),
        seeds=() if seed is None else (seed,),
        repeat=() if repeat is None else (repeat,),
        machine=machine,
        knobs=KnobAxes(tuple((knob.name, (knob.value,)) for knob in parse_knobs(knobs))),
    )
    _look_at_presubmit(presubmit, budget, bool(plan or suites or cases or every or resumed is not None))
    click.get_current_context().with_resource(tracing(trace))
    if not list_only:
        look_at_containment(untrusted)
    layout = Layout.from_environment()
    progress = TerminalProgress(quiet=quiet)
    hands = hands_of(machine_console, machine_power)
    options = RunOptions(
        plan,
        parallel,
        fresh or keep_state or not (plan or presubmit),
        read_known(known),
        not presubmit if gate is None else gate,
        jobs,
        keep_state=keep_state,
        until_fail=until_fail,
        stress=stress,
        hands=hands,
    )
    try:
        if resumed is not None:
            _only_resume(plan, said, list_only or until_fail or stress or bool(known))
            with hosts_at(where, layout, progress, share, parallel) as hosts:
                report, directory = resume(
                    layout, resumed, progress, parallel, jobs, keep_state=keep_state, hosts=hosts, hands=hands
                )
        else:
            if series is not None and source is None and not plan:
                from harness.flow.series import SeriesContext
                from harness.flow.series import base as base_of

                found = base_of(series, trees, SeriesContext(layout, progress, mirror))
                said = replace(said, source=(found.source,))
            extras = Extras(fragments, mirror, keep_igt(igt, layout, progress) if igt is not None else "")
            if not said.source:
                extras = replace(extras, source=default_source(progress))
            requests = requests_of(load_plan(plan), said, extras) if plan else plain_request(said, extras)
            if presubmit:
                requests, options = _first_answer(said, extras, options, budget, layout, progress)
            if every:
                requests = each_patch(requests, layout, progress)
            if until_fail:
                _require_repeats(requests)
            boots = matrix_of(requests, _anything if where else None).boots
            _refuse_too_many(boots)
            if list_only:
                from harness.cli.listing import list_json, print_list
                from harness.flow.estimate import estimate

                ahead = estimate(with_seeds(requests), layout, progress, options.fresh, parallel)
                progress.close()
                click.echo(list_json(ahead)) if as_json else print_list(ahead)
                return
            _ask_about_many(boots, yes)
            with hosts_at(where, layout, progress, share, parallel) as hosts:
                report, directory = execute(requests, layout, progress, replace(options, hosts=hosts))
    except KeyboardInterrupt:
        progress.step("ended; what is finished is kept: ttm-harness run --resume goes on with it")
        raise
    finally:
        progress.close()
    if as_json:
        from harness.model.codec import to_json

        click.echo(to_json(report), nl=False)
    else:
        from harness.reports.text import print_report

        print_report(report, directory, sys.stdout)
    sys.exit(report.verdict.exit_status)


def _look_at_presubmit(presubmit: bool, budget: str | None, more: bool) -> None:
    if budget is not None and not presubmit:
        raise UserError("--budget is for --presubmit, which chooses cases that fit into it", hint="leave it out")
    parse_budget(budget)
    if presubmit and more:
        raise UserError(
            "--presubmit chooses suites and cases itself, and is no part of a plan",
            hint="leave PLAN, --suite, --case, --every and --resume out",
        )


def _first_answer(
    said: Axes, extras: Extras, options: RunOptions, budget: str | None, layout: Layout, progress: TerminalProgress
) -> tuple[tuple[Request, ...], RunOptions]:
    """The requests for what --presubmit chooses; what is kept of the same boots need not be booted again."""
    from harness.flow.planfile import Glob, SuiteName
    from harness.flow.plans import plain_request
    from harness.flow.presubmit import cases_of, presubmit_of
    from harness.model.presubmit import PRESUBMIT_PLAN

    kernels = {one.kernel for one in plain_request(said, extras)}
    if len(kernels) > 1:
        raise UserError("--presubmit is for one kernel", hint="one source, one series and one profile")
    found = presubmit_of(kernels.pop(), parse_budget(budget) or _BUDGET_SECONDS, layout, progress)
    requests: list[Request] = []
    for suite, cases in cases_of(found).items():
        chosen = replace(said, suites=(SuiteName(suite),), cases=tuple(map(Glob, cases)), seeds=said.seeds or (1,))
        requests += plain_request(chosen, extras)
    progress.step(f"presubmit: {found.sentence}")
    return tuple(requests), replace(options, plan=PRESUBMIT_PLAN, presubmit=found)


def _anything(_: Machine) -> None:
    """Whether a fleet can carry a guest is asked when it is there."""


def _require_repeats(requests: Sequence[Request]) -> None:
    if any(one.base is not None for one in requests):
        raise UserError("--until-fail is for one kernel: of two, both are booted as often", hint="leave the base out")
    if all(one.repeat < 2 for one in requests):
        raise UserError("--until-fail ends the repeats of a boot, and there are none", hint="--repeat 50")


def _suites(text: str | None) -> tuple[SuiteName, ...]:
    """Who names no suite means the usual ones; who names nothing does not."""
    from harness.flow.planfile import SuiteName

    names = tuple(SuiteName(name.strip()) for name in (text or "").split(",") if name.strip())
    if text is not None and not names:
        raise UserError(f"--suite {text!r}: no suite is named", hint="leave --suite out for the usual ones")
    return names


_T = TypeVar("_T")


def _one(text: str | None, parse: Callable[[str], _T]) -> tuple[_T, ...]:
    return () if text is None else (parse(text),)


def _only_resume(plan: str, said: Axes, more: bool) -> None:
    from harness.flow.planfile import Axes

    if plan or said != Axes() or more:
        raise UserError(
            "--resume goes on with a run as it was asked for; it takes no plan and no other choice",
            hint="a run by its name: --resume=RUN",
        )


def _refuse_too_many(boots: int) -> None:
    if boots > _MOST_BOOTS:
        raise UserError(
            f"this comes to {boots} boots, and {_MOST_BOOTS} are the most",
            hint="a smaller --repeat, or several plans",
        )


def _ask_about_many(boots: int, yes: bool) -> None:
    """Thousands of boots are often a slip of the pen in a plan."""
    if yes or boots <= _MANY_BOOTS:
        return
    if not sys.stdin.isatty():
        raise UserError(f"this comes to {boots} boots", hint="--list shows them; --yes runs them")
    if not click.confirm(f"This comes to {boots} boots. Go on?", err=True):
        raise UserError(f"{boots} boots were not wanted", hint="--list shows them")
