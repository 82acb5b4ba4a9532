# SPDX-License-Identifier: GPL-2.0-only
"""What compilers and checkpatch said of a patch -> marks; marks -> the verdict on a series. Pure.

A patch is bad for what it does itself: what its predecessor did already is not held against it, and what a later one
mends still is (nobody can bisect across it).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from harness.model.build import CompilerWarning
from harness.model.gate import GATE_SCHEMA, Compiled, Gate, GateCheck, Mark, PatchGate
from harness.model.outcome import Standing
from harness.model.series import ChangeKind, Patch, Series

_SHOWN = 20
_COMPLAINT = re.compile(r"^[^:]*:(?P<line>\d*):? ?(?P<grade>ERROR|WARNING|CHECK): ?(?P<text>.*)$")
# Of gcc, clang and modpost; the quotes around names differ.
_MISSING = (
    re.compile(r"fatal error: (?P<name>\S+): No such file"),
    re.compile(r"implicit declaration of function \W(?P<name>\w+)\W"),
    re.compile(r"undeclared (?:function|identifier) \W(?P<name>\w+)\W"),
    re.compile(r"\W(?P<name>\w+)\W undeclared"),
    re.compile(r"has no member named \W(?P<name>\w+)\W"),
    re.compile(r"unknown type name \W(?P<name>\w+)\W"),
    re.compile(r"\"(?P<name>\w+)\" \[\S+\] undefined!"),
)


def touched_sources(patch: Patch) -> tuple[str, ...]:
    """The .c files that a patch leaves behind changed."""
    return tuple(one.path for one in patch.files if one.path.endswith(".c") and one.kind is not ChangeKind.DELETED)


def mail_of(patch: Patch) -> str:
    """The patch as a mail, for checkpatch."""
    trailers = "".join(f"{one.key}: {one.value}\n" for one in patch.trailers if not one.source)
    body = patch.body.rstrip("\n")
    if trailers and trailers.strip() not in body:
        body = f"{body}\n\n{trailers}".rstrip("\n")
    head = (
        f"From: {patch.author}\nDate: {patch.date}\nSubject: [PATCH {patch.position}/{patch.total}] {patch.subject}\n"
    )
    return f"{head}\n{body}\n---\n\n{patch.diff}"


def checkpatch_check(said: str) -> GateCheck:
    """`checkpatch.pl --terse` -> bad with an ERROR, a warning with less."""
    complaints = [match for line in said.splitlines() if (match := _COMPLAINT.match(line))]
    errors = [match for match in complaints if match["grade"] == "ERROR"]
    details = tuple(f"{match['grade']}: {match['text']}" for match in complaints[:_SHOWN])
    if errors:
        return GateCheck("checkpatch", Mark.BAD, f"{len(errors)} errors, the first: {errors[0]['text']}", details)
    if complaints:
        return GateCheck("checkpatch", Mark.WARN, f"{len(complaints)} warnings", details)
    return GateCheck("checkpatch", Mark.OK)


def objects_check(before: Sequence[Compiled], after: Sequence[Compiled], series: Series, patch: Patch) -> GateCheck:
    """Whether what the patch touches compiles. An object that did not compile before either blames nobody."""
    if not after:
        return GateCheck("objects", Mark.OK, "no .c file is touched")
    broken_before = {one.source for one in before if one.error}
    fresh = [one for one in after if one.error and one.source not in broken_before]
    if fresh:
        said = fresh[0].error
        needs = provider_of(missing_name(said), series, patch)
        message = f"{said}{'; ' + needs if needs else ''}"
        return GateCheck("objects", Mark.BAD, message, tuple(f"{one.source}: {one.error}" for one in fresh[:_SHOWN]))
    stuck = [one for one in after if one.error]
    if stuck:
        return GateCheck("objects", Mark.NOT_RUN, f"did not compile before this patch either: {stuck[0].error}")
    absent = [one.source for one in after if not one.built]
    if absent:
        return GateCheck("objects", Mark.NOT_RUN, f"the config does not build {', '.join(absent[:3])}")
    return GateCheck("objects", Mark.OK, f"{len(after)} compiled")


def warnings_check(before: Sequence[Compiled], after: Sequence[Compiled]) -> GateCheck:
    """Warnings of W=1 that the touched objects did not have before, by their text: lines move."""
    known = {(one.file, one.text) for compiled in before for one in compiled.warnings}
    fresh = [one for compiled in after for one in compiled.warnings if (one.file, one.text) not in known]
    if fresh:
        return GateCheck("warnings", Mark.BAD, _count(fresh), _lines(fresh))
    if any(one.error or not one.built for one in after):
        return GateCheck("warnings", Mark.NOT_RUN, "not every object was compiled")
    return GateCheck("warnings", Mark.OK)


def build_check(before: Iterable[CompilerWarning], after: Sequence[CompilerWarning]) -> GateCheck:
    """A whole kernel that was built: warnings that the one before did not have."""
    known = {(one.file, one.text) for one in before}
    fresh = [one for one in after if (one.file, one.text) not in known]
    if fresh:
        return GateCheck("build", Mark.BAD, _count(fresh), _lines(fresh))
    return GateCheck("build", Mark.OK)


def missing_name(error: str) -> str:
    """The header, function or member that an error misses, '' for other errors."""
    for pattern in _MISSING:
        if match := pattern.search(error):
            return match["name"]
    return ""


def provider_of(name: str, series: Series, patch: Patch) -> str:
    """Which other patch of the thread brings a name that this one misses, in words; '' where nothing is known."""
    if not name:
        return ""
    added = re.compile(rf"^\+.*\b{re.escape(name)}\b", re.MULTILINE)
    for other in series.patches:
        brings = any(one.kind is ChangeKind.ADDED and one.path.endswith(f"/{name}") for one in other.files)
        if other.position != patch.position and (brings or added.search(other.diff)):
            return f"patch {other.position}/{other.total} '{other.subject}' brings {name}"
    if series.missing:
        numbers = ", ".join(f"{number}/{series.total}" for number in series.missing)
        return f"{name} may come with what is missing of the series: {numbers}"
    return f"neither the tree nor the series has {name}"


def judged(series: Series, base: str, patches: Sequence[PatchGate]) -> Gate:
    """The verdict: bad with a bad patch; good only when every check of every patch was made."""
    bad = [patch for patch in patches if patch.bad]
    reasons = [_reason(patch, check) for patch in bad for check in patch.checks if check.mark is Mark.BAD]
    undone = [_reason(patch, check) for patch in patches for check in patch.checks if check.mark is Mark.NOT_RUN]
    if series.missing:
        numbers = ", ".join(map(str, series.missing))
        undone.append(f"the thread is not whole: {numbers} of {series.total} missing")
    verdict = Standing.BAD if bad else Standing.CANNOT_TELL if undone else Standing.GOOD
    return Gate(
        schema=GATE_SCHEMA,
        verdict=verdict,
        reasons=(*reasons, *undone),
        series=series.label,
        series_id=series.id,
        base=base,
        first_bad=bad[0].position if bad else 0,
        patches=tuple(patches),
    )


def _reason(patch: PatchGate, check: GateCheck) -> str:
    return f"patch {patch.position}/{patch.total}: {check.name} {check.mark}: {check.message}"


def _count(warnings: Sequence[CompilerWarning]) -> str:
    first = warnings[0]
    return f"{len(warnings)} new, the first: {first.file}:{first.line}: {first.text}"


def _lines(warnings: Sequence[CompilerWarning]) -> tuple[str, ...]:
    return tuple(f"{one.file}:{one.line}: {one.text}" for one in warnings[:_SHOWN])
