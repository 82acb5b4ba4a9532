# SPDX-License-Identifier: GPL-2.0-only
"""A boot and the boots that were made of it again -> what came again, and what was not the same. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence

from harness.model.outcome import Outcome, Verdict
from harness.model.repro import REPRO_SCHEMA, Again, Finding, Repro
from harness.model.result import Case, Event, Provenance, Run

# What of a kernel and a host can differ, and what it is called.
_NAMES: Mapping[str, str] = {
    "harness": "the harness",
    "tree_origin": "the source",
    "profile": "the profile",
    "compiler": "the compiler",
    "qemu": "QEMU",
    "vng": "vng",
    "host": "the host",
}
_CALM = (Outcome.PASS, Outcome.XFAIL, Outcome.SKIP)


IsNote = Callable[[str], bool]


def findings_of(cases: Sequence[Case], events: Iterable[Event], is_note: IsNote) -> tuple[Finding, ...]:
    """What speaks against the kernel of one boot: cases that are not calm, and events that nobody expected; of a kind
    that `is_note` calls a note (an OOM kill) only those that came in such a case.
    """
    red = [case for case in cases if case.outcome not in _CALM]
    found = [Finding("case", f"{case.suite}/{case.name}", outcome=case.outcome) for case in red]
    within = {event.fingerprint for case in red for event in case.events}
    found += [
        Finding(event.kind, event.title, fingerprint=event.fingerprint)
        for event in events
        if not event.expected and not event.known
        if not is_note(event.kind) or event.fingerprint in within
    ]
    return tuple({one.key: one for one in found}.values())


def judge_again(
    of: str,
    first: tuple[Run, Sequence[Case], Sequence[Event]],
    name: str,
    runs: Sequence[Run],
    cases: Sequence[Case],
    events: Sequence[Event],
    unlike: tuple[str, ...],
    is_note: IsNote,
    *,
    same_code: bool = True,
) -> Repro:
    """What the run `name` of the same boots makes of the first boot. Where kernel or suite is not of the `same_code`,
    that nothing came again says nothing.
    """
    was, told = first[0].verdict, [run for run in runs if run.verdict is not Verdict.CANNOT_TELL]
    wanted = findings_of(first[1], first[2], is_note)
    seen = {
        run.id: findings_of(
            [case for case in cases if case.run == run.id],
            (event for event in events if event.run == run.id),
            is_note,
        )
        for run in told
    }
    counts = Counter(one.key for found in seen.values() for one in found)
    keys = {one.key for one in wanted}
    others = {one.key: one for found in seen.values() for one in found if one.key not in keys}
    if was is Verdict.GOOD:
        again = sum(run.verdict is Verdict.GOOD for run in told)
    else:
        again = sum(any(one.key in keys for one in found) for found in seen.values())
    return Repro(
        schema=REPRO_SCHEMA,
        of=of,
        was=was,
        run=name,
        boots=len(runs),
        told=len(told),
        again=again,
        findings=tuple(Again(one, counts[one.key]) for one in wanted),
        more=tuple(Again(one, counts[one.key]) for one in others.values()),
        unlike=unlike,
        verdict=_verdict(runs, same_code),
    )


def _verdict(runs: Sequence[Run], same_code: bool) -> Verdict:
    verdicts = [run.verdict for run in runs]
    if Verdict.BAD in verdicts:
        return Verdict.BAD
    good = same_code and verdicts and all(one is Verdict.GOOD for one in verdicts)
    return Verdict.GOOD if good else Verdict.CANNOT_TELL


def same_sources(before: Provenance, now: Provenance) -> bool:
    """Whether both kernels are of one tree and one .config; compilers may differ."""
    return (before.tree_id, before.config_id) == (now.tree_id, now.config_id)


def unlike_kernels(before: Provenance, now: Provenance) -> tuple[str, ...]:
    """Sentences for what is not as it was when the first boot was made."""
    found = [
        f"{name} was {getattr(before, key)}, and is {getattr(now, key)}"
        for key, name in _NAMES.items()
        if getattr(before, key) not in ("", getattr(now, key))  # a bundle does not tell of its host
    ]
    if before.tree_id != now.tree_id and before.tree_origin == now.tree_origin:
        found.append(
            f"the source {now.tree_origin} has other content: {before.tree_id[:12]}, and now {now.tree_id[:12]}"
        )
    if before.config_id != now.config_id:
        found.append("the .config is another one")
    if before.build_id != now.build_id and not found:
        found.append("the kernel was built in another way")
    return tuple(found)
