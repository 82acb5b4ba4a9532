# SPDX-License-Identifier: GPL-2.0-only
"""How the harness reads the threads of a list archive, beside `b4 am` and `git mailinfo`.

    python -m tests.corpus.compare_mail ARCHIVE… [--threads N] [--show BUCKET] [--keep DIR]

ARCHIVE is a public-inbox repository or a directory of mboxes; nothing of it is needed by the tests. Each thread with
a patch is read three times; a difference is put into a bucket. Buckets with `better` are differences in which what b4
or git reads is not what was posted, by a rule of `better`; all others count against the harness.
"""

from __future__ import annotations

import argparse
import email.utils
import functools
import re
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from harness.inputs.series.assemble import Selection, assemble
from harness.inputs.series.mbox import read_messages
from harness.inputs.series.subject import read_subject
from harness.model.errors import HarnessError
from harness.model.series import Patch, Series
from tests.corpus import better
from tests.corpus.archive import as_mbox, open_archive, threads
from tests.corpus.facts import Facts, is_reply, read_facts, trailer
from tests.corpus.peers import B4Series, GitMail, header_of, read_with_git, run_b4, run_b4_helped

_DIFF = re.compile(rb"^(?:diff --git |--- \S.*\n\+\+\+ )", re.MULTILINE)
_ENCODED = re.compile(rb"^content-transfer-encoding:\s*(?:base64|quoted-printable)", re.MULTILINE | re.IGNORECASE)
_BRACKETS = re.compile(r"^(?:\s*\[[^\]]*\])*\s*")
_MOST = 300  # mails in a thread that are looked at


@dataclass(slots=True)
class Verdict:
    """What differs in one thread: buckets, with a sentence for each."""

    found: list[tuple[str, str]] = field(default_factory=list)

    def add(self, bucket: str, why: str = "") -> None:
        self.found.append((bucket, why))

    @property
    def worse(self) -> bool:
        return any(not bucket.startswith("better") for bucket, _ in self.found)


@dataclass(frozen=True, slots=True)
class _Thread:
    """One thread and what is made of it. What takes long is asked for only where something differs."""

    ours: Series | None
    why: str
    theirs: B4Series
    git: Callable[[str], GitMail | None]
    facts: Callable[[], Facts]
    helped: Callable[[], B4Series]

    @property
    def mine(self) -> list[str]:
        return [patch.message_id for patch in self.ours.patches] if self.ours else []

    @property
    def cover(self) -> str:
        return self.ours.cover.message_id if self.ours and self.ours.cover else ""

    @property
    def said(self) -> tuple[str, ...]:
        return (*self.ours.problems, *self.ours.notes) if self.ours else (self.why,)

    def applies(self, name: str) -> bool:
        mail = self.git(name)
        return mail is not None and mail.applies


def compare(mails: Sequence[bytes], room: Path) -> Verdict:
    """One thread, read three times."""
    file = room / "thread.mbox"
    file.write_bytes(as_mbox(list(mails)))
    theirs = run_b4(file, room)
    try:
        messages = read_messages(file.read_bytes(), "thread.mbox")
        ours: Series | None = assemble(messages, Selection("mbox:thread.mbox", partial=True))
        why = ""
    except HarnessError as error:
        ours, why = None, error.message
    raw = {_name(mail): mail for mail in reversed(mails)}

    @functools.cache
    def git(name: str) -> GitMail | None:
        return read_with_git(raw[name], room) if name in raw else None

    def applies(name: str) -> bool:
        return (mail := git(name)) is not None and mail.applies

    facts = functools.cache(lambda: read_facts(mails, applies))
    helped = functools.cache(lambda: run_b4_helped(mails, room / "helped"))
    thread = _Thread(ours, why, theirs, git, facts, helped)
    verdict = Verdict()
    _compare_series(thread, verdict)
    for patch in ours.patches if ours else ():
        copies = [mail for mail in mails if _name(mail) == patch.message_id]
        if not copies:
            verdict.add("a patch that is no mail of the thread", str(patch))
            continue
        # Lists damage some copies, and some people send another mail under an old name: git reads them all.
        read = [read_with_git(mail, room) for mail in dict.fromkeys(copies)]
        found = min((_compare_patch(patch, one) for one in read), key=len)
        verdict.found += found
        _compare_trailers(patch, read[0], thread, verdict)
    return verdict


def _name(mail: bytes) -> str:
    return header_of(mail, "Message-ID").strip("<> ")


def _compare_series(thread: _Thread, verdict: Verdict) -> None:
    """The patches and their order."""
    ours, mine, theirs = thread.ours, thread.mine, thread.theirs
    if mine == theirs.names:
        if ours is not None and mine:
            _compare_numbers(ours, thread, verdict)
            if ours.problems:
                verdict.add("refused, b4 takes it", "; ".join(ours.problems))
        return
    subjects = " | ".join(one.subject for one in thread.facts().mails.values() if one.name in theirs.names)
    sentence = f"ours {mine}, theirs {theirs.names} ({subjects}); said: {'; '.join(thread.said)}"
    if not theirs.names:
        verdict.add(f"only ours (b4 ends with {theirs.status})", f"{sentence} {theirs.said[-300:]}")
    else:
        verdict.add(_better_series(thread) or _worse_series(thread), sentence)


def _better_series(thread: _Thread) -> str:
    """The rule that proves ours, '' where none does."""
    ours, mine, theirs, facts = thread.ours, thread.mine, thread.theirs.names, thread.facts()
    if better.refuses(mine, theirs, ours.problems if ours else (thread.why,), facts):
        return "better: refused, as git refuses it"
    if better.takes_replies(mine, theirs, facts):
        return "better: b4 takes a reply for a patch"
    if better.mixes(mine, theirs, thread.said, facts):
        return "better: what b4 mixes in is named as another posting, or as damaged"
    if better.leaves_out(mine, theirs, facts):
        return "better: b4 leaves out patches that are there"
    if better.completes(mine, theirs, thread.said, facts):
        return "better: patches that lost their numbers are told by their places"
    if better.names_twins(mine, theirs, ours.problems if ours else (), facts):
        return "better: a number that was sent twice at once is named, not guessed"
    if better.makes_whole(mine, thread.said, facts):
        return "better: a partial reroll is made whole"
    return ""


def _worse_series(thread: _Thread) -> str:
    mine, theirs = thread.mine, thread.theirs.names
    if thread.ours is None:
        return "refused whole, git takes it"
    if set(mine) == set(theirs):
        return "order"
    if "duplicate messages found" in thread.theirs.said:
        return "b4 mixes several postings"
    if not set(mine) & set(theirs):
        return "another series"
    return "fewer patches" if set(theirs) - set(mine) else "more patches"


def _compare_numbers(ours: Series, thread: _Thread, verdict: Verdict) -> None:
    """Revision, positions and cover of the same patches. b4 writes both into the subjects that it makes."""
    theirs = thread.theirs
    tags = [read_subject(counter) for counter in theirs.counters]
    revision = max(tag.revision for tag in tags)
    if ours.revision != revision:
        stated = better.names_revision(ours.revision, revision, thread.mine, thread.cover, thread.facts())
        bucket = "better: the revision that the subjects name" if stated else "revision"
        verdict.add(bucket, f"ours {ours.revision}, b4 {theirs.counters}")
    numbered = [(tag.position, tag.total) if tag.total else (at, 0) for at, tag in enumerate(tags, 1)]
    most = max(position for position, _ in numbered)
    numbered = [
        (position, total and max(total, most)) for position, total in numbered
    ]  # b4 leaves 5/4 in the subject
    mine = [
        (patch.position, patch.total if total else 0)
        for patch, (_, total) in zip(ours.patches, numbered, strict=True)
    ]
    if mine != numbered:
        verdict.add("numbers", f"ours {mine}, b4 {numbered}")
    if theirs.cover and ours.cover is None:
        verdict.add("cover lost", theirs.said[-300:])
    incomplete = "Thread incomplete" in theirs.said
    if incomplete == (not ours.missing):
        right = not ours.missing and better.counts_right(thread.mine, thread.cover, ours.notes, thread.facts())
        bucket = "better: whole by its patches, its cover letter counts wrong" if right else "whole or not"
        verdict.add(bucket, f"ours misses {ours.missing}, b4 says {'in' if incomplete else ''}complete")


def _compare_patch(patch: Patch, git: GitMail) -> list[tuple[str, str]]:
    """What differs in one patch that was taken, from how git mailinfo reads its mail."""
    verdict = Verdict()
    if not git.applies:
        verdict.add("taken, git refuses it", f"{patch.message_id}: {patch}")
        return verdict.found
    if patch.patch_id != git.patch_id and not _same_diff(patch, git):
        bucket = (
            "better: git reads a diff twice, as text and as an attachment"
            if _is_twice(patch, git)
            else "another diff"
        )
        verdict.add(bucket, f"{patch.message_id}: {patch}")
    if _plain(patch.subject) not in (_plain(git.subject), _plain(_BRACKETS.sub("", git.subject))):
        verdict.add("subject", f"{patch.message_id}: {patch.subject!r}, git {git.subject!r}")
    if email.utils.parseaddr(patch.author)[1].lower() != git.author.lower():
        verdict.add("author", f"{patch.message_id}: {patch.author!r}, git {git.author!r}")
    if _words(patch.body) != _words(git.body):
        bucket = "message"
        if better.pastes_from_line(patch.body, git.body):
            bucket = "better: the From line of git format-patch, pasted into the text, is no message"
        verdict.add(bucket, f"{patch.message_id}: {_first_difference(patch.body, git.body)}")
    return verdict.found


def _same_diff(patch: Patch, git: GitMail) -> bool:
    """git patch-id stops at a blank line that lost its blank, and knows no diff without `diff --git`: then what
    git apply counts and the changed lines are compared.
    """
    theirs = iter(git.diff.split("\n"))
    return sorted(_counts(patch)) == sorted(_counted(git)) and all(line in theirs for line in _changed(patch.diff))


def _is_twice(patch: Patch, git: GitMail) -> bool:
    return better.is_diff_twice(_counts(patch), _counted(git), _changed(patch.diff), _changed(git.diff))


def _counts(patch: Patch) -> list[str]:
    return [f"{one.adds}\t{one.dels}" for one in patch.files]


def _counted(git: GitMail) -> list[str]:
    return ["\t".join(line.split("\t")[:2]) for line in git.numstat]


def _changed(diff: str) -> list[str]:
    return [line.rstrip("\r") for line in diff.split("\n") if re.match(r"[-+](?!--|\+\+|- ?\r?$)", line)]


def _plain(subject: str) -> str:
    """Without blanks. git takes away all brackets (b4, too) or, with -b, those with PATCH in them."""
    return "".join(subject.split())


def _words(body: str) -> list[str]:
    return body.split()


def _first_difference(ours: str, theirs: str) -> str:
    left, right = ours.split("\n"), theirs.split("\n")
    for one, other in zip(left, right, strict=False):
        if one.rstrip() != other.rstrip():
            return f"{one!r}, git {other!r}"
    return f"{len(left)} lines, git {len(right)}: {(left[len(right) :] or right[len(left) :])[:3]}"


def _compare_trailers(patch: Patch, git: GitMail, thread: _Thread, verdict: Verdict) -> None:
    name = patch.message_id
    if name not in thread.theirs.trailers:
        return
    mine = {trailer(f"{one.key}: {one.value}") for one in patch.trailers if one.key.lower().endswith("-by")}
    other = {trailer(one) for one in thread.theirs.trailers[name]}
    if mine == other:
        return
    given = {trailer(one) for one in thread.helped().trailers.get(name, ())}
    if lost := other - mine:
        own = {trailer(line) for line in git.body.split("\n")}
        bucket = "trailers lost"
        if better.belong_to_reply(lost, own, name, thread.cover, thread.facts()):
            bucket = "better: the trailers of a patch in a reply are that patch's"
        elif given and not lost & given and better.stand_elsewhere(lost, own, name, thread.cover, thread.facts()):
            bucket = "better: trailers of other patches, which b4 gives to this one where no parent is named"
        verdict.add(bucket, f"{name}: {sorted(lost)}")
    if more := mine - other:
        asked = {trailer(one[1]) for one in re.finditer(r"! Trailer: (\S+: .*)", thread.theirs.said)}
        bucket = "trailers more"
        if more <= given and better.are_given(more, name, thread.cover, _older(patch, thread), thread.facts()):
            bucket = "better: trailers that b4 finds where a reply's parent and address are named for it"
            if more <= asked:
                bucket = "better: trailers of a reply from another address, which b4 only lists (-S)"
        verdict.add(bucket, f"{name}: {sorted(more)}")


def _older(patch: Patch, thread: _Thread) -> list[str]:
    """Other mails of the thread that make the same change."""
    mails = [one.name for one in thread.facts().mails.values() if not one.reply and one.name != patch.message_id]
    return [name for name in mails if (git := thread.git(name)) is not None and git.patch_id == patch.patch_id]


def _chosen(groups: list[list[bytes]], wanted: int) -> list[list[bytes]]:
    """Evenly over the archive's years."""
    if not wanted or len(groups) <= wanted:
        return groups
    return [groups[at * len(groups) // wanted] for at in range(wanted)]


def _is_patch(raw: bytes) -> bool:
    head = raw[:65536].partition(b"\n\n")[0].decode("latin-1")
    subject = header_of(head.encode("latin-1"), "Subject")
    return not is_reply(subject) and bool(_DIFF.search(raw) or ("[" in subject and _ENCODED.search(raw)))


def run(archive: Path, wanted: int, show: str, keep: Path | None) -> tuple[int, int, int]:
    """Compares, prints the buckets; threads, those that differ, those that count against the harness."""
    counts: Counter[str] = Counter()
    began = time.monotonic()
    done = differing = worse = 0
    with open_archive(archive) as entries:
        found = threads(entries)
        step = max(1, len(found) // (wanted * 2)) if wanted else 1
        for thread in found[::step]:
            mails = [entry.fetch() for entry in thread[:_MOST]]
            if not any(map(_is_patch, mails)):
                continue
            with tempfile.TemporaryDirectory(prefix="ttm-mail-") as directory:
                verdict = compare(mails, Path(directory))
            done += 1
            differing += bool(verdict.found)
            worse += verdict.worse
            counts.update({bucket for bucket, _ in verdict.found})
            _tell(verdict, thread[0].name, show)
            if keep is not None and verdict.found:
                _keep(keep, verdict, thread[0].name, mails)
            if wanted and done >= wanted:
                break
    print(f"{archive}: {len(found)} threads, {done} with patches read in {time.monotonic() - began:.0f} s")
    print(f"  as b4 and git read them or better: {done - worse} of {done} ({(done - worse) / max(1, done):.2%})")
    for bucket, count in counts.most_common():
        print(f"  {count:>6}  {bucket}")
    return done, differing, worse


def _tell(verdict: Verdict, name: str, show: str) -> None:
    for bucket, why in verdict.found:
        if show and (show == "all" or show in bucket):
            print(f"[{bucket}] thread {name}: {why}", flush=True)


def _keep(folder: Path, verdict: Verdict, name: str, mails: list[bytes]) -> None:
    for bucket in dict.fromkeys(bucket for bucket, _ in verdict.found):
        into = folder / re.sub(r"\W+", "-", bucket)
        into.mkdir(parents=True, exist_ok=True)
        (into / f"{re.sub(r'[^A-Za-z0-9.@-]', '_', name)[:100]}.mbox").write_bytes(as_mbox(mails))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("archives", nargs="+", type=Path)
    parser.add_argument("--threads", type=int, default=0, help="read about that many, evenly over the archive")
    parser.add_argument("--show", default="", help="print each difference whose bucket has this in its name; or all")
    parser.add_argument("--keep", type=Path, help="write the threads that differ there")
    given = parser.parse_args()
    sums = [run(archive, given.threads, given.show, given.keep) for archive in given.archives]
    done, differing, worse = (sum(column) for column in zip(*sums, strict=True))
    print(f"all: {done - worse} of {done} ({(done - worse) / max(1, done):.2%}); {differing} differ in anything")


if __name__ == "__main__":
    main()
