# SPDX-License-Identifier: GPL-2.0-only
"""What the verbs that search have in common: the options that say what is booted, and which failure is looked for."""

from __future__ import annotations

import functools
import re
import shlex
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from harness.cli import completion
from harness.cli.guests import GuestOptions, guest_options
from harness.model.build import DEFAULT_PROFILE
from harness.model.errors import UserError

if TYPE_CHECKING:  # what is imported where it is used: the help waits for none of it
    from harness.flow.planfile import Axes, MachineAxes
    from harness.flow.request import Request
    from harness.model.progress import MultiProgress
    from harness.model.search import Predicate

_BUDGET = re.compile(r"(\d{1,6}(?:\.\d{1,3})?)(s|m|h)")
_PERCENT = re.compile(r"(\d{1,3}(?:\.\d{1,3})?)%?")
_FINGERPRINT = re.compile(r"[0-9a-f]{4,64}")


@dataclass(frozen=True, slots=True)
class Looked:
    """What the options of `search_options` say."""

    suite: str
    cases: tuple[str, ...]
    red: tuple[str, ...]
    fingerprint: str
    any_failure: bool
    knobs: tuple[str, ...]
    seed: int

    @property
    def predicate(self) -> Predicate:
        from harness.model.search import Predicate

        if self.fingerprint and not _FINGERPRINT.fullmatch(self.fingerprint):
            raise UserError(
                f"--fingerprint {self.fingerprint!r} is no fingerprint",
                hint="hex digits, as `report RUN` and `parse kmsg` show them; the beginning is enough",
            )
        if self.fingerprint and self.red:
            raise UserError("--red and --fingerprint say two things", hint="give one of them")
        return Predicate(
            tuple(glob.strip() for glob in ",".join(self.red).split(",") if glob.strip()), self.fingerprint
        )

    def axes(self, wanted: GuestOptions, machine: MachineAxes | None = None) -> Axes:
        """All that was said, for one request."""
        from harness.flow.planfile import Axes, Glob, KnobAxes, OptionalSeries, ProfileName, SuiteName
        from harness.model.series import SeriesSpec
        from harness.model.tree import SourceSpec
        from harness.model.words import parse_globs, parse_knobs

        return Axes(
            source=() if wanted.source is None else (SourceSpec.parse(wanted.source),),
            series=() if wanted.series is None else (OptionalSeries(SeriesSpec.parse(wanted.series)),),
            profile=(ProfileName(wanted.profile or DEFAULT_PROFILE),),
            suites=(SuiteName(self.suite),),
            cases=tuple(Glob(text) for text in parse_globs(self.cases)),
            seeds=(self.seed,),
            machine=machine or wanted.machine,
            knobs=KnobAxes(tuple((knob.name, (knob.value,)) for knob in parse_knobs(self.knobs))),
        )


def search_options(command: Callable[..., None]) -> Callable[..., None]:
    """Gives a command the options, and makes of them its arguments `wanted` and `looked`."""

    @functools.wraps(command)
    def with_looked(**options: object) -> None:
        own = {name: options.pop(name) for name in Looked.__dataclass_fields__}
        command(looked=Looked(**own), **options)  # type: ignore[arg-type]

    decorated: Callable[..., None] = guest_options(with_looked)
    for option in reversed(_OPTIONS):
        decorated = option(decorated)
    return decorated


_OPTIONS = (
    click.option("--suite", required=True, shell_complete=completion.suites, help="The one suite that is run."),
    click.option("--case", "cases", multiple=True, metavar="GLOB[,…]", help="Only these cases of it are run."),
    click.option("--red", multiple=True, metavar="GLOB[,…]", help="Only these cases count, by their whole names."),
    click.option("--fingerprint", default="", metavar="HEX", help="Only an event with this fingerprint counts."),
    click.option(
        "--any",
        "any_failure",
        is_flag=True,
        help="Every failure counts, whatever it died of; else only what fails as the first did.",
    ),
    click.option("--knob", "knobs", multiple=True, metavar="NAME=VALUE[,…]", help="Parameters of the suite."),
    click.option(
        "--seed", type=click.IntRange(0, 2**32 - 1), default=1, show_default=True, help="Of each first boot."
    ),
)


def request_of(
    wanted: GuestOptions, looked: Looked, progress: MultiProgress, machine: MachineAxes | None = None
) -> Request:
    """The one request that was said."""
    from dataclasses import replace

    from harness.flow.matrix import matrix_of
    from harness.flow.plans import Extras, default_source, plain_request

    said = looked.axes(wanted, machine)
    if not said.source:
        said = replace(said, source=(default_source(progress),))
    requests = plain_request(said, Extras(wanted.fragments, wanted.mirror))
    if len(requests) > 1:
        raise UserError("a search boots one machine", hint="give each option of the machine once")
    request = replace(requests[0], base=None)
    matrix_of((request,))  # what does not go together is said before anything is fetched
    return request


def command_words() -> str:
    """The command as it was given."""
    return shlex.join(("ttm-harness", *sys.argv[1:]))


def parse_budget(text: str | None) -> float | None:
    """`30m` -> seconds."""
    if text is None:
        return None
    match = _BUDGET.fullmatch(text.strip())
    if match is None or float(match[1]) <= 0:
        raise UserError(f"--budget {text!r} is no time", hint="a number and s, m or h, as in 30m")
    return float(match[1]) * {"s": 1, "m": 60, "h": 3600}[match[2]]


def parse_percent(text: str, option: str, least: float, most: float) -> float:
    """`95%` -> 0.95."""
    match = _PERCENT.fullmatch(text.strip())
    if match is None or not least <= float(match[1]) <= most:
        raise UserError(f"{option} {text!r} is no share", hint=f"{least:g}% to {most:g}%")
    return float(match[1]) / 100


def without_paths(text: str) -> str:
    """A command without what its paths tell of this machine: their last parts stay."""
    return re.sub(r"(?<![\w.])~?/(?:[^/\s'\"@:]+/)+", "", text)
