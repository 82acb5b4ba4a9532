# SPDX-License-Identifier: GPL-2.0-only
"""Mails in every form that lists, archives and mail programs give them."""

from __future__ import annotations

import base64
import gzip
import quopri
import time
from collections.abc import Callable
from email.message import EmailMessage
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from harness.inputs.series.mbox import FILE_LIMIT, read_file, read_messages, split_mbox
from harness.inputs.series.subject import Tag, read_subject
from harness.model.errors import HarnessError, UserError
from tests.unit.series_support import mail, mbox, plain_diff, read

MESSAGE = "Because.\n\nSigned-off-by: Ada Ünit <ada@example.org>\n---\n drivers/a.c | 3 ++-\n\n"
TEXT = MESSAGE + plain_diff() + "-- \n2.39.5\n"
SUBJECTS = [
    ("[PATCH v8 2/6] drm: x", Tag("drm: x", True, False, False, 8, 2, 6)),
    ("[v8,2/6] drm: x", Tag("drm: x", True, False, False, 8, 2, 6)),
    ("[RFC PATCH 00/16] Add", Tag("Add", True, False, True, 1, 0, 16)),
    ("[RFC,v2,1/3] x", Tag("x", True, False, True, 2, 1, 3)),
    ("[PATCHv3 1/2] [media] x", Tag("[media] x", True, False, False, 3, 1, 2)),
    ("[PATCH RESEND drm-misc-next v2 1/3] x", Tag("x", True, False, False, 2, 1, 3, ("drm-misc-next",), 0, True)),
    ("Re: AW: [PATCH 1/2] x", Tag("x", True, True, False, 1, 1, 2)),
    ("[media] x", Tag("[media] x")),
    ("[PATCH] x", Tag("x", True)),
    ("[PATCH x", Tag("[PATCH x")),
    ("", Tag("")),
]


@pytest.mark.parametrize(("subject", "tag"), SUBJECTS)
def test_subjects(subject: str, tag: Tag) -> None:
    assert read_subject(subject) == tag


def test_a_mail_becomes_a_patch_with_all_that_it_says() -> None:
    series = read(mbox(mail("[PATCH v3 1/1] gpu: a", TEXT, "one@example.org")))
    patch = series.patches[0]
    assert (patch.subject, patch.position, patch.total, patch.revision) == ("gpu: a", 1, 1, 3)
    assert (patch.author, patch.message_id) == ("Ada <ada@x.org>", "one@example.org")
    assert patch.date == "2026-01-02T03:04:05+00:00"
    assert patch.body == "Because.\n\nSigned-off-by: Ada Ünit <ada@example.org>"
    assert [(trailer.key, trailer.value) for trailer in patch.trailers] == [
        ("Signed-off-by", "Ada Ünit <ada@example.org>")
    ]
    assert patch.diff == plain_diff()
    assert (patch.adds, patch.dels, patch.paths) == (2, 1, ("drivers/a.c",))


def test_the_line_is_that_of_the_file() -> None:
    data = mbox(mail("[PATCH 1/2] x", TEXT, "one@x"), mail("[PATCH 2/2] y", TEXT.replace("a.c", "b.c"), "two@x"))
    for patch in read(data).patches:
        lines = data.decode().split("\n")
        assert lines[patch.diff_line - 1].startswith("diff --git ")
        assert lines[patch.files[0].hunk_lines[0] - 1].startswith("@@ ")
    assert read(data).patches[1].diff_line > 20


@pytest.mark.parametrize(
    "how", ["8bit", "base64", "quoted-printable", "crlf", "base64 crlf", "latin1", "undeclared latin1"]
)
def test_encodings_bring_the_same_patch(how: str) -> None:
    text = TEXT.replace("int added_a;", "int added_a; /* Ü */")
    charset = "iso-8859-1" if "latin1" in how else "utf-8"
    body = text.encode(charset)
    encoding = "8bit"
    if "crlf" in how:
        body = body.replace(b"\n", b"\r\n")
    if "base64" in how:
        body, encoding = base64.encodebytes(body), "base64"
    if how == "quoted-printable":
        body, encoding = quopri.encodestring(body), "quoted-printable"
    kind = "text/plain" if how.startswith("undeclared") else f"text/plain; charset={charset}"
    head = f"From: =?utf-8?q?Ada_=C3=9Cnit?= <a@x>\nSubject: [PATCH] =?utf-8?b?R3LDvMOfZQ==?=\nContent-Type: {kind}\n"
    head += f"Content-Transfer-Encoding: {encoding}\nMessage-ID: <m@x>\n\n"
    raw = head.encode() + body
    if how == "crlf":
        raw = head.replace("\n", "\r\n").encode() + body
    patch = read(raw).patches[0]
    assert patch.subject == "Grüße"
    assert patch.author == "Ada Ünit <a@x>"
    assert "int added_a; /* Ü */\n" in patch.diff
    assert "\r" not in patch.diff
    assert patch.files[0].line == patch.diff_line
    assert ("decoded" in patch.where) == (encoding != "8bit")


def attached(data: bytes, name: str, kind: str = "x-patch") -> bytes:
    message = EmailMessage()
    message["From"], message["Subject"], message["Message-ID"] = "Ada <a@x>", "[PATCH v2] as an attachment", "<at@x>"
    message.set_content("See the attachment.\n")
    message.add_attachment(data, maintype="text", subtype=kind, filename=name)
    return message.as_bytes()


def test_attachments() -> None:
    patch = read(attached(plain_diff().encode(), "fix.patch")).patches[0]
    assert (patch.subject, patch.body, patch.revision) == ("as an attachment", "See the attachment.", 2)
    assert (patch.where, patch.diff_line) == ("t.mbox (its decoded text), attachment fix.patch", 1)
    whole = mail("[PATCH v2] gpu: inner", TEXT, "inner@x")
    inner = read(attached(mbox(whole), "0001-fix.patch")).patches[0]
    assert (inner.subject, inner.message_id) == ("gpu: inner", "inner@x")


def test_from_lines_in_texts() -> None:
    text = "From here on.\n\nFrom me 10:00 2026\n" + TEXT
    escaped = mail("[PATCH 1/2] x", text, "one@x").replace(b"\nFrom ", b"\n>From ")
    other = mail("[PATCH 2/2] y", TEXT.replace("a.c", "b.c"), "two@x")
    series = read(mbox(escaped, other))
    assert series.patches[0].body.startswith("From here on.\n\nFrom me")
    bare = read(mbox(mail("[PATCH 1/2] x", text, "one@x"), other))
    assert bare.patches[0].body == series.patches[0].body


def test_an_author_in_the_text() -> None:
    text = "From: Bob <bob@x>\nSubject: gpu: bobs\n\n" + TEXT
    patch = read(mail("[PATCH] gpu: cut…", text, "m@x")).patches[0]
    assert (patch.author, patch.subject) == ("Bob <bob@x>", "gpu: bobs")
    assert patch.body.startswith("Because.")


def flowed(text: str) -> bytes:
    return mail("[PATCH 2/3] gpu: flowed", text, "flow@x").replace(
        b'charset="utf-8"', b'charset="utf-8"; format=flowed'
    )


WRAPPED = TEXT.replace("+int added_a;", "+int\nadded_a;")
HTML = b"<!DOCTYPE html>\n<html><body>From: x</body></html>\n"
REFUSED = [
    (b"", "is empty"),
    (b"\n\n \n", "is empty"),
    (HTML, "web page"),
    (b"just words\n", "not an mbox"),
    (plain_diff().encode(), "not an mbox"),
    (TEXT.encode("utf-16"), "not an mbox"),
    (mail("[PATCH] x", "no diff here\n", "m@x"), "no patch"),
    (mail("Re: [PATCH] x", TEXT, "m@x"), "1 reply ('Re: [PATCH] x') and no patch"),
    (mail("[PATCH 1/1] x", "words only\n", "m@x"), "mail '[PATCH 1/1] x' <m@x>: there is no diff in it"),
    (mail("[PATCH 1/1] x", WRAPPED, "m@x"), "mail '[PATCH 1/1] x' <m@x>, line 24 of t.mbox: is neither context nor"),
    (mail("[PATCH 1/1] x", TEXT.replace("+int added_a;", "+int \0;"), "m@x"), "NUL byte"),
    (flowed(TEXT), "format=flowed"),
    (flowed(TEXT.replace("+int added_a;", "+int added_a; ")), "line 23 ends in a soft break"),
    (mail("[PATCH 1/1] x", TEXT, "m@x").replace(b"text/plain", b"text/html"), "only HTML"),
    (b"From: a\nSubject: x\nContent-Type: multipart/mixed\n\n", "no patch"),
    (b"Subject: " + b"x" * 300_000, "headers do not end"),
    (b"From: a\nSubject: x\n" + b"Content-Type: multipart/mixed; boundary=b\n\n--b\n" * 40, "parts within parts"),
    (mail(f"[PATCH 1/{10**6 - 1}] x", TEXT, "m@x"), "256 is the most"),
]


@pytest.mark.parametrize(("data", "why"), REFUSED)
def test_what_is_refused_and_in_which_words(data: bytes, why: str) -> None:
    with pytest.raises(UserError) as raised:
        read(data)
    assert why in raised.value.message
    assert raised.value.hint


def test_files(tmp_path: Path) -> None:
    file = tmp_path / "t.mbox.gz"
    file.write_bytes(gzip.compress(b"one") + gzip.compress(b"two"))
    assert read_file(file) == b"onetwo"
    file.write_bytes(gzip.compress(b"one" * 1000)[:-9])
    with pytest.raises(UserError, match="not a whole gzip file"):
        read_file(file)
    file.write_bytes(b"\x1f\x8brubbish")
    with pytest.raises(UserError, match="not a whole gzip file"):
        read_file(file)
    file.write_bytes(gzip.compress(bytes(FILE_LIMIT + 100), 1))
    with pytest.raises(UserError, match="larger than 64M"):
        read_file(file)
    with file.open("wb") as sparse:
        sparse.truncate(FILE_LIMIT + 1)
    with pytest.raises(UserError, match="larger than 64M"):
        read_file(file)
    with pytest.raises(UserError, match="there is no file"):
        read_file(tmp_path / "none")
    with pytest.raises(UserError, match="is a directory"):
        read_file(tmp_path)
    with pytest.raises(UserError, match="no file name"):
        read_file(Path("a\0b"))


def test_lines_of_an_mbox() -> None:
    data = mbox(b"Subject: a\n\nx", b"Subject: b\n\ny")
    assert [(line, raw.partition(b"\n")[0]) for line, _, raw in split_mbox(data)] == [
        (2, b"Subject: a"),
        (7, b"Subject: b"),
    ]


PIECES = st.sampled_from(
    [
        b"From mboxrd@z Thu Jan  1 00:00:00 1970\n",
        b"From: a <a@x>\n",
        b"Subject: [PATCH 1/2] x\n",
        b"Subject: =?utf-8?b?A===?= =?x?q?=?=\n",
        b"Subject: [PATCH v2 0/2] x\n",
        b"Subject: Re: [PATCH 2/2] x\n",
        b"Date: nonsense\n",
        b"Date: Fri, 99 Jan 99999 03:04:05 +9999\n",
        b"Message-ID: <a@x>\n",
        b"In-Reply-To: <a@x>\n",
        b"Content-Type: multipart/mixed; boundary=b\n",
        b"Content-Type: text/plain; charset*=x''%ff; format*0=flo; charset=utf-7\n",
        b"Content-Type: text/x-patch; name=x.patch\n",
        b"Content-Transfer-Encoding: base64\n",
        b"Content-Transfer-Encoding: quoted-printable\n",
        b"Content-Transfer-Encoding: x-uuencode\n",
        b"\n",
        b"\n--b\n",
        b"\n--b--\n",
        b"begin 644 x\n",
        b"Reviewed-by: B <b@x>\n",
        b"\xff\xfe\x00",
        b"=C3=9",
        plain_diff().encode(),
        b"+ADw-\n",
    ]
)


@settings(max_examples=500, deadline=None)
@given(st.lists(PIECES | st.binary(max_size=20), max_size=30).map(b"".join))
@example(b"From: a\nSubject: x\nContent-Type: text/plain; charset=utf-7\n\n+2AA-\n")
def test_nothing_but_a_sentence_ever_comes(data: bytes) -> None:
    for partial in (False, True):
        try:
            read(data, partial=partial)
        except HarnessError as error:
            assert error.message


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=400))
def test_any_bytes_are_safe(data: bytes) -> None:
    for head in (b"", b"From: a\nSubject: [PATCH 1/1] x\n", b"From a@b Thu Jan  1 00:00:00 1970\nSubject: x\n"):
        try:
            read_messages(head + data, "t.mbox")
        except HarnessError as error:
            assert error.message


EVIL: dict[str, Callable[[int], bytes]] = {
    "headers": lambda n: b"From: a\nSubject: x\n" + b"X: y\n" * n + b"\n",
    "encoded words": lambda n: b"From: a\nSubject: " + b"=?a?q?" * n + b"\n\n",
    "from lines": lambda n: b"From: a\nSubject: x\n\n" + b"From x 10:00 " * n,
    "mails": lambda n: mbox(*[b"Subject: x\n\ny"] * (n // 10)),
    "boundaries": lambda n: b"From: a\nSubject: x\nContent-Type: multipart/mixed; boundary=b\n\n" + b"--b\n\n" * n,
    "brackets": lambda n: b"From: a\nSubject: " + b"[PATCH" * n + b"\n\n",
    "quotes": lambda n: b"From: a\nSubject: x\nMessage-ID: " + b"<" * n + b"\n\n",
}


@pytest.mark.parametrize("name", EVIL)
def test_readers_take_linear_time(name: str) -> None:
    def seconds(count: int) -> float:
        data = EVIL[name](count)
        began = time.process_time()  # not the clock: other work on this machine is no matter of the readers
        try:
            read(data)
        except UserError:
            pass
        return time.process_time() - began

    seconds(100)
    assert seconds(30_000) < 40 * max(seconds(3_000), 0.02)
