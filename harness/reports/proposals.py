# SPDX-License-Identifier: GPL-2.0-only
"""Proposals for a file of known issues, as TOML in which every line is a comment: a person takes what is right."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence

from harness.model.nightly import Proposal, ProposalKind
from harness.model.visible import visible_field

_HEADINGS = {
    ProposalKind.SUSPECT: "Suspects: failures that were not there before. Nothing is let pass by these.",
    ProposalKind.KNOWN: "Kernels without any series show these. Copy an entry, without the #, into the file.",
    ProposalKind.GONE: "Known issues that no longer show: take them out of the file.",
    ProposalKind.EXPIRED: "Known issues whose time is over: take them out, or give them another date.",
}
_LONGEST = 160
_NO_GLOB = re.compile(r"[^\w.*?\[\]-]", re.ASCII)
_NUMBER = re.compile(r"\d+")
_VERSION = re.compile(r"(\d{1,4})\.(\d{1,4})")


def to_proposals(proposals: Sequence[Proposal], night: str) -> str:
    """The text of the file; one that says so where there is nothing."""
    lines = [f"# Proposals of the night {night}. It writes this file anew each time; nobody else need."]
    for kind, heading in _HEADINGS.items():
        of_kind = [one for one in proposals if one.kind is kind]
        if of_kind:
            lines += ["#", f"# {heading}"]
            lines += [line for one in of_kind for line in _entry(one)]
    if not proposals:
        lines.append("# There is nothing to propose.")
    return "\n".join(lines) + "\n"


def _entry(one: Proposal) -> Iterator[str]:
    yield "#"
    yield f"# {one.name}: {_plain(one.why)}"
    if one.kind in (ProposalKind.GONE, ProposalKind.EXPIRED):
        return
    yield f"#   {_plain(one.title)} in {_plain(one.suite)} {_plain(one.case)}, {_plain(one.kernel)}, run {one.run}"
    if one.kind is ProposalKind.KNOWN:
        yield from (f"# {line}" for line in _issue(one))


def _issue(one: Proposal) -> Iterable[str]:
    yield "[[issue]]"
    yield f"name = {_quoted(one.name)}"
    if one.fingerprint:
        yield f"fingerprints = [{_quoted(one.fingerprint)}]"
    else:
        yield f"cases = [{_quoted(_NO_GLOB.sub('?', one.case)[:200])}]"
        yield f"message = {_quoted(_pattern(one.title))}"
    if one.suite:
        yield f"suites = [{_quoted(one.suite)}]"
    if version := _VERSION.match(one.kernel):  # where it was not seen, nothing is let pass
        yield f'since = "{version[0]}"'
        yield f'before = "{version[1]}.{int(version[2]) + 1}"'
    if one.seen < one.boots:
        yield "rare = true"
    yield f'reason = "say why it is let pass: {one.seen} of {one.boots} boots without a series show it"'
    yield 'owner = "say who takes care of it"'
    yield f"expires = {one.expires}"


def _pattern(message: str) -> str:
    """A regular expression for a message in which numbers, and what is no plain text, may be others."""
    escaped = "".join(re.escape(sign) if sign.isprintable() else "." for sign in message[:_LONGEST])
    return _NUMBER.sub(r"\\d+", escaped.replace("\\ ", " ")) or ".*"


def _quoted(text: str) -> str:
    """A string of TOML, on one line; of what is no plain text nothing is left."""
    return json.dumps("".join(sign if sign.isprintable() else "?" for sign in text), ensure_ascii=False)


def _plain(text: str) -> str:
    return visible_field(text)[:_LONGEST]
