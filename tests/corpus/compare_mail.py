# SPDX-License-Identifier: GPL-2.0-only
"""How the harness reads the threads of a list archive, beside `b4 am` and `git mailinfo`.

    python -m tests.corpus.compare_mail ARCHIVE… [--threads N] [--show BUCKET] [--keep DIR]

ARCHIVE is a public-inbox repository or a directory of mboxes; nothing of it is needed by the tests. Each thread with
a patch is read three times; a difference is put into a bucket. Buckets with `better` are differences in which what b4
or git reads is plainly not what was posted; all others count against the harness.
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

from harness.inputs.series.assemble import Wish, assemble
from harness.inputs.series.mbox import read_letters
from harness.inputs.series.subject import read_subject
from harness.model.errors import HarnessError
from harness.model.series import Patch, Series
from tests.corpus.archive import as_mbox, open_archive, threads
from tests.corpus.peers import B4Series, GitMail, header_of, read_with_git, run_b4, run_b4_helped

_DIFF = re.compile(rb"^(?:diff --git |--- \S.*\n\+\+\+ )", re.MULTILINE)
_ENCODED = re.compile(rb"^content-transfer-encoding:\s*(?:base64|quoted-printable)", re.MULTILINE | re.IGNORECASE)
_COUNT = re.compile(r"\[[^\]]*?(?<![\d.])(\d+)/(\d+)[^\]]*\]")
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


def compare(mails: Sequence[bytes], room: Path) -> Verdict:
    """One thread, read three times."""
    verdict = Verdict()
    thread = room / "thread.mbox"
    thread.write_bytes(as_mbox(list(mails)))
    theirs = run_b4(thread, room)
    try:
        letters = read_letters(thread.read_bytes(), "thread.mbox")
        ours: Series | None = assemble(letters, Wish("mbox:thread.mbox", partial=True))
        why = ""
    except HarnessError as error:
        ours, why = None, error.message
    raw = {_name(mail): mail for mail in reversed(mails)}
    git = {name: read_with_git(raw[name], room) for name in _named(ours, theirs) if name in raw}
    _compare_series(ours, why, theirs, git, raw, verdict)
    helped = functools.cache(lambda: run_b4_helped(mails, room / "helped"))
    for patch in ours.patches if ours else ():
        if patch.message_id in git:
            _compare_patch(patch, git[patch.message_id], raw[patch.message_id], verdict)
            _compare_trailers(patch, theirs, helped, verdict)
    return verdict


def _name(mail: bytes) -> str:
    return header_of(mail, "Message-ID").strip("<> ")


def _named(ours: Series | None, theirs: B4Series) -> list[str]:
    mine = [patch.message_id for patch in ours.patches] if ours else []
    return list(dict.fromkeys([*mine, *theirs.names]))


def _compare_series(
    ours: Series | None, why: str, theirs: B4Series, git: dict[str, GitMail], raw: dict[str, bytes], verdict: Verdict
) -> None:
    """The patches and their order."""
    mine = [patch.message_id for patch in ours.patches] if ours else []
    if mine == theirs.names:
        if ours is not None and mine:
            _compare_numbers(ours, theirs, raw, verdict)
        return
    said = why or "; ".join((*ours.problems, *ours.notes) if ours else ())
    subjects = " | ".join(header_of(raw[name], "Subject") for name in theirs.names if name in raw)
    sentence = f"ours {mine}, theirs {theirs.names} ({subjects}); said: {said}"
    if any(_is_reply(header_of(raw[name], "Subject")) for name in theirs.names if name in raw):
        verdict.add("better: b4 takes a reply for a patch", sentence)
    elif not theirs.names:
        verdict.add(f"only ours (b4 ends with {theirs.status})", f"{sentence} {theirs.said[-300:]}")
    elif ours is None:
        good = any(git[name].applies for name in theirs.names if name in git)
        verdict.add("refused whole, git takes it" if good else "better: refused, as git refuses it", sentence)
    else:
        _compare_sets(ours, mine, theirs, git, raw, sentence, verdict)


def _compare_numbers(ours: Series, theirs: B4Series, raw: dict[str, bytes], verdict: Verdict) -> None:
    """Revision, positions and cover of the same patches. b4 writes both into the subjects that it makes."""
    tags = [read_subject(counter) for counter in theirs.counters]
    revision = max(tag.revision for tag in tags)
    if ours.revision != revision:
        bucket = "better: the revision that the subjects name" if _named_by(ours, revision, raw) else "revision"
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
        verdict.add("whole or not", f"ours misses {ours.missing}, b4 says {'in' if incomplete else ''}complete")


def _named_by(ours: Series, other: int, raw: dict[str, bytes]) -> bool:
    """Whether the revision stands in the subject of the cover letter or of each patch, and b4's in none of them."""
    cover = [header_of(raw.get(ours.cover.message_id, b""), "Subject")] if ours.cover else []
    patches = [header_of(raw.get(patch.message_id, b""), "Subject") for patch in ours.patches]
    mine = re.compile(rf"\[[^\]]*\bv{ours.revision}\b", re.IGNORECASE)
    theirs = re.compile(rf"\[[^\]]*\bv{other}\b", re.IGNORECASE)
    stated = any(map(mine.search, cover)) or all(map(mine.search, patches))
    return stated and not any(map(theirs.search, (*cover, *patches)))


def _compare_sets(
    ours: Series,
    mine: list[str],
    theirs: B4Series,
    git: dict[str, GitMail],
    raw: dict[str, bytes],
    sentence: str,
    verdict: Verdict,
) -> None:
    lacking = [name for name in theirs.names if name not in mine]
    more = [name for name in mine if name not in theirs.names]
    if lacking and not more and all(not git[name].applies for name in lacking if name in git):
        verdict.add("better: refused, as git refuses it", sentence)
    elif not lacking and not more:
        verdict.add("order", sentence)
    elif lacking and all(_stands_in(name, ours) for name in lacking):
        verdict.add("better: what b4 mixes in is named as another posting, or as damaged", sentence)
    elif not lacking and any("is taken from" in note for note in ours.notes):
        verdict.add("better: a partial reroll is made whole", sentence)
    elif _has_twice(mine, theirs.names, raw):
        verdict.add("better: b4 takes a number twice, and leaves one out that is there", sentence)
    elif "duplicate messages found" in theirs.said:
        verdict.add("b4 mixes several postings", sentence)
    elif not set(mine) & set(theirs.names):
        verdict.add("another series", sentence)
    elif lacking:
        verdict.add("fewer patches", sentence)
    else:
        verdict.add("more patches", sentence)


def _has_twice(mine: list[str], theirs: list[str], raw: dict[str, bytes]) -> bool:
    """By the subjects as they were sent: b4 has a number of one series twice, and we have 1 to n, each once and from
    the newest mail that b4 or we took for it.
    """
    counts = {name: _COUNT.search(header_of(raw.get(name, b""), "Subject")) for name in (*mine, *theirs)}
    if not all(counts.values()) or len({one[2] for one in counts.values() if one}) != 1:
        return False
    at = {name: int(one[1]) for name, one in counts.items() if one}
    total = max(int(one[2]) for one in counts.values() if one)
    dates = {name: email.utils.parsedate_to_datetime(header_of(raw[name], "Date")) for name in at}
    newest = {number: max((n for n in at if at[n] == number), key=lambda n: dates[n]) for number in at.values()}
    twice = len({at[name] for name in theirs}) < len(theirs)
    return twice and mine == [newest.get(number, "") for number in range(1, total + 1)]


def _stands_in(name: str, ours: Series) -> bool:
    """Whether a mail is named among what is not taken: as one without a number beside numbered ones, as a second one
    of the same number, as one of another series, or as one whose diff git would cut without a word.
    """
    why = (
        "not taken",
        "times",
        "it holds",
        "in one place",
        "goes on with the hunk",
        "is no part of a diff",
        "replaced",
    )
    said = [one for one in (*ours.problems, *ours.notes) if f"<{name}>" in one]
    return any(word in one for one in said for word in why)


def _is_reply(subject: str) -> bool:
    return re.match(r"(?:\s*\[[^\]]*\])*\s*(?:re|aw|sv|回复|答复)\s*[:：]", subject, re.IGNORECASE) is not None


def _compare_patch(patch: Patch, git: GitMail, raw: bytes, verdict: Verdict) -> None:
    """One patch that was taken, as git mailinfo reads its mail."""
    if not git.applies:
        verdict.add("taken, git refuses it", f"{patch.message_id}: {patch}")
        return
    if patch.patch_id != git.patch_id and not _same_diff(patch, git):
        verdict.add("another diff", f"{patch.message_id}: {patch}")
    if _plain(patch.subject) not in (_plain(git.subject), _plain(_BRACKETS.sub("", git.subject))):
        verdict.add("subject", f"{patch.message_id}: {patch.subject!r}, git {git.subject!r}")
    if email.utils.parseaddr(patch.author)[1].lower() != git.author.lower():
        verdict.add("author", f"{patch.message_id}: {patch.author!r}, git {git.author!r}")
    if _words(patch.body) != _words(git.body):
        pasted = re.match(r">?From [0-9a-f]{40} ", git.body) is not None
        bucket = (
            "better: the From line of git format-patch, pasted into the text, is no message" if pasted else "message"
        )
        verdict.add(bucket, f"{patch.message_id}: {_first_difference(patch.body, git.body)}")


def _same_diff(patch: Patch, git: GitMail) -> bool:
    """git patch-id stops at a blank line that lost its blank, and knows no diff without `diff --git`: then what
    git apply counts and the changed lines are compared.
    """
    numbers = sorted(f"{one.adds}\t{one.dels}" for one in patch.files)
    theirs = iter(git.patch.decode("utf-8", "replace").replace("\r", "").split("\n"))
    changed = [line.rstrip("\r") for line in patch.diff.split("\n") if re.match(r"[-+](?!--|\+\+)", line)]
    return numbers == sorted("\t".join(line.split("\t")[:2]) for line in git.numstat) and all(
        line in theirs for line in changed
    )


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


def _compare_trailers(patch: Patch, theirs: B4Series, helped: Callable[[], B4Series], verdict: Verdict) -> None:
    if patch.message_id not in theirs.trailers:
        return
    mine = {_trailer(f"{one.key}: {one.value}") for one in patch.trailers if one.key.lower().endswith("-by")}
    other = {_trailer(one) for one in theirs.trailers[patch.message_id]}
    if lost := other - mine:
        bucket = "trailers lost"
        if all(one.startswith("signed-off-by:") for one in lost):
            bucket = "better: a reply signs off its own patch, not this one"
        elif not lost & {_trailer(one) for one in helped().trailers.get(patch.message_id, lost)}:
            bucket = "better: trailers of other patches, which b4 gives to this one where no parent is named"
        verdict.add(bucket, f"{patch.message_id}: {sorted(lost)}")
    if more := mine - other:
        asked = {_trailer(one[1]) for one in re.finditer(r"! Trailer: (\S+: .*)", theirs.said)}
        bucket = "trailers more"
        if more <= {_trailer(one) for one in helped().trailers.get(patch.message_id, ())}:
            bucket = "better: trailers that b4 finds where a reply's parent and address are named for it"
            if more <= asked:
                bucket = "better: trailers of a reply from another address, which b4 only lists (-S)"
        verdict.add(bucket, f"{patch.message_id}: {sorted(more)}")


def _trailer(text: str) -> str:
    """Name and address: how a person's name is spelt is no difference."""
    key, _, value = text.lower().partition(":")
    address = re.search(r"<([^<>\s]+)>", value) or re.search(r"(\S+@\S+)", value)
    return f"{key}: {address[1].strip('<>') if address else ''.join(value.split())}"


def _chosen(groups: list[list[bytes]], wanted: int) -> list[list[bytes]]:
    """Evenly over the archive's years."""
    if not wanted or len(groups) <= wanted:
        return groups
    return [groups[at * len(groups) // wanted] for at in range(wanted)]


def _is_patch(raw: bytes) -> bool:
    head = raw[:65536].partition(b"\n\n")[0].decode("latin-1")
    subject = header_of(head.encode("latin-1"), "Subject")
    return not _is_reply(subject) and bool(_DIFF.search(raw) or ("[" in subject and _ENCODED.search(raw)))


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
