# SPDX-License-Identifier: GPL-2.0-only
"""What compilers and checkpatch said of a patch -> marks; marks -> the verdict on a series. Pure.

A patch is bad for what it does itself: what its predecessor did already is not held against it, and what a later one
mends still is (nobody can bisect across it).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from harness.judge.reach import Reach
from harness.model.build import CompilerWarning
from harness.model.gate import GATE_SCHEMA, Compiled, Gate, GateCheck, Mark, PatchGate
from harness.model.outcome import Verdict
from harness.model.series import ChangeKind, HunkState, Patch, PatchReport, Series

_SHOWN = 20
_MAYBE = "[-Wmaybe-uninitialized]"
_OF_ITSELF = ("checkpatch",)  # what no other patch can have a part in
_COMPLAINT = re.compile(r"^[^:]*:(?P<line>\d*):? ?(?P<grade>ERROR|WARNING|CHECK): ?(?P<text>.*)$")
_DOC_NEW = re.compile(r"^(?:Warning|Error): (?P<file>[^:\s]+):\d+ (?P<text>.*)$")
_DOC_OLD = re.compile(r"^(?P<file>[^:\s]+):\d+: (?:warning|error): (?P<text>.*)$")
_COCCI = re.compile(r"^(?:\./)?(?P<file>[^:\s]+):\d+:\d+-\d+: (?P<text>.*?)(?: on lines? [\d, ]+)?$")
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


def sources_of(patch: Patch, series: Series) -> tuple[str, ...]:
    """The .c files that a patch leaves behind changed; with a header also those of the whole series: its users."""
    patches = series.patches if any(name.endswith(".h") for name in _left(patch)) else (patch,)
    found = (name for one in patches for name in _left(one) if name.endswith(".c"))
    return tuple(dict.fromkeys(found))


def documented_of(patch: Patch) -> tuple[str, ...]:
    """The files in which kernel-doc looks for comments."""
    return tuple(name for name in _left(patch) if name.endswith((".c", ".h")))


def _left(patch: Patch) -> list[str]:
    return [one.path for one in patch.files if one.kind is not ChangeKind.DELETED]


def new_names(patch: Patch) -> dict[str, str]:
    """The old name of each file that the patch renames -> its new one."""
    return {one.old_path: one.path for one in patch.files if one.kind is ChangeKind.RENAMED}


def renamed(before: Compiled, names: Mapping[str, str]) -> Compiled:
    """What was before a patch, with the names that its files have after it."""
    return replace(
        before,
        built=tuple(names.get(name, name) for name in before.built),
        absent=tuple(names.get(name, name) for name in before.absent),
        errors=tuple((names.get(name, name), text) for name, text in before.errors),
        warnings=renamed_warnings(before.warnings, names),
    )


def renamed_warnings(before: Iterable[CompilerWarning], names: Mapping[str, str]) -> tuple[CompilerWarning, ...]:
    return tuple(replace(one, file=names.get(one.file, one.file)) for one in before)


def mail_of(patch: Patch) -> str:
    """The patch as a mail, for checkpatch."""
    trailers = "".join(f"{one.key}: {one.value}\n" for one in patch.trailers if not one.source)
    body = patch.body.rstrip("\n")
    if trailers and trailers.strip() not in body:
        body = f"{body}\n\n{trailers}".rstrip("\n")
    head = f"From: {patch.author}\nDate: {patch.date}\n" if has_address(patch) else ""
    return f"{head}Subject: [PATCH {patch.position}/{patch.total}] {patch.subject}\n\n{body}\n---\n\n{patch.diff}"


def has_address(patch: Patch) -> bool:
    """A page may give the author's name alone: who has no address cannot have signed off with it."""
    return "@" in patch.author


def applies_check(report: PatchReport) -> GateCheck:
    """A patch that was applied: with fuzz it found its place by guessing."""
    fuzzy = [one for one in report.hunks if one.state is HunkState.FUZZ]
    if not fuzzy:
        return GateCheck("applies", Mark.OK)
    details = tuple(
        f"hunk {one.number} of {one.path}: fuzz {one.fuzz}, offset {one.offset}" for one in fuzzy[:_SHOWN]
    )
    return GateCheck("applies", Mark.WARN, f"{len(fuzzy)} of {len(report.hunks)} hunks only with fuzz", details)


def checkpatch_check(said: str, *, strict: bool = False) -> GateCheck:
    """`checkpatch.pl --terse` -> a warning; a bad mark for an ERROR only if that is asked for: it is about style, and
    maintainers take patches with errors.
    """
    complaints = [match for line in said.splitlines() if (match := _COMPLAINT.match(line))]
    errors = [match for match in complaints if match["grade"] == "ERROR"]
    details = tuple(f"{match['grade']}: {match['text']}" for match in complaints[:_SHOWN])
    if errors:
        mark = Mark.BAD if strict else Mark.WARN
        return GateCheck("checkpatch", mark, f"{len(errors)} errors, the first: {errors[0]['text']}", details)
    if complaints:
        return GateCheck("checkpatch", Mark.WARN, f"{len(complaints)} warning{'s' * (len(complaints) != 1)}", details)
    return GateCheck("checkpatch", Mark.OK)


def kernel_doc_check(before: str, after: str, names: Mapping[str, str] | None = None) -> GateCheck:
    """Complaints about comments that were not there before the patch, which gave files new `names`."""
    known = set(_complaints(before, names or {}))
    fresh = [one for one in _complaints(after, {}) if one not in known]
    if fresh:
        return GateCheck("kernel-doc", Mark.BAD, f"{len(fresh)} new, the first: {fresh[0]}", tuple(fresh[:_SHOWN]))
    return GateCheck("kernel-doc", Mark.OK)


def _complaints(said: str, names: Mapping[str, str]) -> list[str]:
    """`file: text` of either form: `Warning: FILE:LINE text` since 6.16, `FILE:LINE: warning: text` before."""
    found = (match for line in said.splitlines() if (match := _DOC_NEW.match(line) or _DOC_OLD.match(line)))
    return list(dict.fromkeys(f"{names.get(match['file'], match['file'])}: {match['text']}" for match in found))


def coccinelle_check(before: str, after: str, names: Mapping[str, str]) -> GateCheck:
    """What the scripts say that they did not say before the patch. They guess at times: it is said, no more."""
    known = set(_found(before, names))
    fresh = [one for one in _found(after, {}) if one not in known]
    if fresh:
        return GateCheck("coccinelle", Mark.WARN, f"{len(fresh)} new, the first: {fresh[0]}", tuple(fresh[:_SHOWN]))
    return GateCheck("coccinelle", Mark.OK)


def _found(said: str, names: Mapping[str, str]) -> list[str]:
    """`file: text`, without the numbers of lines, which move."""
    found = (match for line in said.splitlines() if (match := _COCCI.match(line)))
    return list(dict.fromkeys(f"{names.get(match['file'], match['file'])}: {match['text']}" for match in found))


def objects_check(before: Compiled, after: Compiled, series: Series, patch: Patch) -> GateCheck:
    """Whether what the patch touches compiles. An object that did not compile before either blames nobody."""
    fresh = new_errors(before, after)
    if fresh:
        needs = provider_of(missing_name(fresh[0][1]), series, patch)
        message = f"{fresh[0][1]}{'; ' + needs if needs else ''}"
        return GateCheck("objects", Mark.BAD, message, tuple(f"{name}: {text}" for name, text in fresh[:_SHOWN]))
    if after.errors:
        return GateCheck("objects", Mark.NOT_RUN, f"did not compile before this patch either: {after.errors[0][1]}")
    if after.absent:
        return GateCheck("objects", Mark.NOT_RUN, f"the config does not build {', '.join(after.absent[:3])}")
    if not after.built:
        return GateCheck("objects", Mark.OK, "nothing that is built is touched")
    return GateCheck("objects", Mark.OK, f"{len(after.built)} compiled")


def with_reach(check: GateCheck, reach: Reach) -> GateCheck:
    """The objects check, with what the patch reaches beyond its own files."""
    if reach.broken and check.mark is not Mark.BAD:
        return replace(check, mark=Mark.BAD, message=reach.broken[0], details=(*reach.broken, *check.details))
    if reach.untold and check.mark is Mark.OK:
        return replace(check, mark=Mark.NOT_RUN, message="; ".join(reach.untold[:3]), details=reach.untold)
    return check


def without_absent(compiled: Compiled, own: Iterable[str]) -> Compiled:
    """What was compiled: that the config does not build a mere user of what changed is no gap."""
    names = set(own)
    return replace(compiled, absent=tuple(name for name in compiled.absent if name in names))


def whole_check(build: GateCheck, made: bool) -> GateCheck:
    """The objects of a patch without a .c file: those of the whole kernel, by its build's check."""
    if not made:
        return replace(build, name="objects")
    return GateCheck("objects", Mark.OK, "no .c file is touched, and the whole kernel builds")


def unbuilt_check(files: Sequence[str]) -> GateCheck:
    """The objects of such a patch where the whole kernel is not to be built."""
    return GateCheck(
        "objects",
        Mark.NOT_RUN,
        f"of {', '.join(files[:3])} there is no object of its own: without --only the whole kernel is built",
    )


def new_errors(before: Compiled, after: Compiled) -> tuple[tuple[str, str], ...]:
    """Files with their first errors that compiled, or were not there, before."""
    broken = {name for name, _ in before.errors}
    return tuple((name, text) for name, text in after.errors if name not in broken)


def warnings_check(before: Compiled, after: Compiled) -> GateCheck:
    """Warnings of W=1 that the touched objects did not have before, by their text: lines move. What gcc takes for
    unset on some path is only said.
    """
    fresh = _new_warnings(before.warnings, after.warnings)
    sure = _sure(fresh)
    if sure:
        return GateCheck("warnings", Mark.BAD, _count(sure), _lines(fresh))
    if after.errors or after.absent:
        return GateCheck("warnings", Mark.NOT_RUN, "not every object was compiled")
    if fresh:
        return GateCheck("warnings", Mark.WARN, _count(fresh), _lines(fresh))
    return GateCheck("warnings", Mark.OK, after.unchecked)


def flips_check(tried: Sequence[tuple[str, Compiled | None, Compiled]]) -> GateCheck:
    """Other configs: their names, what came out (None where Kconfig forbids the config), and what did before.

    Errors and warnings that the config before the patch did not have speak against the patch. A config in which
    nothing was compiled says nothing.
    """
    bad, details, done = [], [], []
    for name, after, before in tried:
        if after is None:
            details.append(f"{name}: Kconfig does not let it be")
            continue
        if after.built:
            done.append(name)
        else:
            details.append(f"{name}: not built there")
        bad += [f"{name}: {text}" for _, text in new_errors(before, after)]
        bad += [f"{name}: {line}" for line in _lines(_sure(_new_warnings(before.warnings, after.warnings)))]
    if bad:
        return GateCheck("configs", Mark.BAD, bad[0], tuple((*bad, *details)[:_SHOWN]))
    if tried and not done:
        return GateCheck("configs", Mark.NOT_RUN, "nothing was compiled in any other config", tuple(details))
    return GateCheck("configs", Mark.OK, ", ".join(done) or "none is implied", tuple(details))


def build_check(before: Iterable[CompilerWarning], after: Sequence[CompilerWarning]) -> GateCheck:
    """A whole kernel that was built: warnings that the one before did not have."""
    fresh = _new_warnings(before, after)
    if fresh:
        return GateCheck("build", Mark.BAD, _count(fresh), _lines(fresh))
    return GateCheck("build", Mark.OK)


def failed_build_check(error: str, before: bool) -> GateCheck:
    """A whole kernel that does not build; with `before` the one without the patch does."""
    if before:
        return GateCheck("build", Mark.BAD, error)
    return GateCheck("build", Mark.NOT_RUN, f"neither does it build without this patch: {error}")


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
    """The verdict: bad with a bad patch; good only when every check of every patch was made. Behind a gap in the
    series a patch is not blamed for what the missing ones may have brought.
    """
    patches = [_behind_gap(patch, series) for patch in patches]
    bad = [patch for patch in patches if patch.bad]
    reasons = [_reason(patch, check) for patch in bad for check in patch.checks if check.mark is Mark.BAD]
    undone = [_reason(patch, check) for patch in patches for check in patch.checks if check.mark is Mark.NOT_RUN]
    undone = [*gaps_of(series), *undone]
    verdict = Verdict.BAD if bad else Verdict.CANNOT_TELL if undone else Verdict.GOOD
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


def gaps_of(series: Series) -> list[str]:
    """Why the series is not what was posted: it cannot be good, however good the rest is."""
    found = []
    if series.missing:
        numbers = ", ".join(map(str, series.missing))
        found.append(f"the series is not whole: {numbers} of {series.total} missing")
    return [*found, *(f"the series is not whole: {problem}" for problem in series.problems)]


def _behind_gap(patch: PatchGate, series: Series) -> PatchGate:
    before = [number for number in series.missing if number < patch.position]
    if not before:
        return patch
    numbers = ", ".join(map(str, before))
    word = f"perhaps for want of {numbers} of {series.total}, which {'is' if len(before) == 1 else 'are'} missing"
    checks = tuple(
        replace(check, mark=Mark.NOT_RUN, message=f"{word}: {check.message}")
        if check.mark is Mark.BAD and check.name not in _OF_ITSELF
        else check
        for check in patch.checks
    )
    return replace(patch, checks=checks)


def builds(gate: Gate, upto: int | None) -> bool:
    """False when the gate knows that the kernel with the first `upto` patches (None: all) cannot be had: one of them
    does not apply, or objects of the last one do not compile.
    """
    first = gate.patches if upto is None else gate.patches[:upto]
    if any(_is_bad(patch, "applies") for patch in first):
        return False
    number = len(gate.patches) if upto is None else upto
    return not 0 < number <= len(gate.patches) or not _is_bad(gate.patches[number - 1], "objects")


def _is_bad(patch: PatchGate, name: str) -> bool:
    return any(check.name == name and check.mark is Mark.BAD for check in patch.checks)


def with_failed_build(gate: Gate, upto: int | None, message: str, before: bool) -> Gate:
    """The gate when the kernel with the first `upto` patches turned out not to build.

    With `before` the one with a patch less was built, so that the last of them is at fault; else any may be.
    """
    number = len(gate.patches) if upto is None else upto
    if not before:
        reason = f"with patches 1 to {number} it does not build: {message}"
        return replace(gate, verdict=Verdict.BAD, reasons=(*gate.reasons, reason))
    patch = gate.patches[number - 1]
    check = GateCheck("build", Mark.BAD, message)
    patch = replace(patch, checks=(*(one for one in patch.checks if one.name != check.name), check))
    return replace(
        gate,
        verdict=Verdict.BAD,
        reasons=(*gate.reasons, _reason(patch, check)),
        first_bad=min(gate.first_bad or patch.position, patch.position),
        patches=(*gate.patches[: number - 1], patch, *gate.patches[number:]),
    )


def _reason(patch: PatchGate, check: GateCheck) -> str:
    return f"patch {patch.position}/{patch.total}: {check.name} {check.mark}: {check.message}"


def _new_warnings(before: Iterable[CompilerWarning], after: Iterable[CompilerWarning]) -> list[CompilerWarning]:
    known = {(one.file, one.text) for one in before}
    return [one for one in after if (one.file, one.text) not in known]


def _sure(warnings: Iterable[CompilerWarning]) -> list[CompilerWarning]:
    """Without those in which gcc is wrong at times: they are said, and held against nobody."""
    return [one for one in warnings if _MAYBE not in one.text]


def _count(warnings: Sequence[CompilerWarning]) -> str:
    first = warnings[0]
    return f"{len(warnings)} new, the first: {first.file}:{first.line}: {first.text}"


def _lines(warnings: Sequence[CompilerWarning]) -> tuple[str, ...]:
    return tuple(f"{one.file}:{one.line}: {one.text}" for one in warnings[:_SHOWN])
