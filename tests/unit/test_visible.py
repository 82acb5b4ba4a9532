# SPDX-License-Identifier: GPL-2.0-only
"""Words of others on a terminal, in JSON, XML and HTML: they move no cursor, turn no line round, forge nothing."""

from __future__ import annotations

import ast
import io
import json
import os
import pty
import re
import subprocess
import sys
import unicodedata
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import harness
from harness.cli.plainly import explain
from harness.model.codec import from_json, to_json
from harness.model.errors import InfraError
from harness.model.result import Report
from harness.model.visible import visible, visible_field, visible_json
from harness.reports.columns import columns
from harness.reports.console import console_on, plain
from harness.reports.gate import print_gate
from harness.reports.html import report_html
from harness.reports.junit import to_junit
from harness.reports.text import print_report
from harness.store.runs import save_report
from tests.unit.test_html import gate_of, hostile
from tests.unit.test_reports import REPORT

PACKAGE = Path(harness.__file__).parent
HOSTILE = "a\x1b[2J\x1b[1;1H\x9b31m\u202egood\u2066\u200b\x07\x08\r[red]x[/red]\nverdict: good"
# Rich's own colours and nothing else.
_STYLE = re.compile(r"\x1b\[[0-9;]*m")


def is_safe(text: str) -> bool:
    return not any(unicodedata.category(sign) in ("Cc", "Cf", "Cs", "Zl", "Zp") for sign in text.replace("\n", ""))


@settings(deadline=None)  # a busy host is no fault of the text
@given(st.text())
def test_visible_text_has_only_what_can_be_seen(text: str) -> None:
    assert is_safe(visible(text).replace("\t", ""))
    assert "\n" not in visible_field(text)
    assert visible(visible(text)) == visible(text)


def test_every_character_of_unicode_that_formats_is_shown() -> None:
    for code in range(sys.maxunicode + 1):
        sign = chr(code)
        if sign not in "\t\n" and unicodedata.category(sign) in ("Cc", "Cf", "Cs", "Zl", "Zp"):
            assert visible(sign).startswith("\\"), hex(code)


@pytest.mark.parametrize("text", ["", "plain", "ümläut 漢字 🙂", "a\tb\nc", "back\\slash"])
def test_what_is_plain_stays(text: str) -> None:
    assert visible(text) == text


@pytest.mark.parametrize(
    ("text", "shown"), [("\x1b", "\\x1b"), ("\u202e", "\\u202e"), ("\U000e0041", "\\U000e0041"), ("\r", "\\x0d")]
)
def test_the_escape_names_the_character(text: str, shown: str) -> None:
    assert visible(text) == shown


@settings(deadline=None)  # a busy host is no fault of the text
@given(st.text())
def test_json_keeps_its_value_and_is_visible(text: str) -> None:
    told = visible_json(json.dumps({"a": text}, ensure_ascii=False))
    told.encode("utf-8")
    assert is_safe(told)
    assert json.loads(told)["a"] == text or text != text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def test_a_report_keeps_hostile_words_through_its_json() -> None:
    one = hostile(HOSTILE)
    assert is_safe(to_json(one))
    assert from_json(Report, to_json(one)) == one


def text_of(one: Report) -> str:
    out = io.StringIO()
    print_report(one, Path("/runs") / HOSTILE, out)
    return out.getvalue()


def test_the_text_of_a_report_forges_nothing() -> None:
    text = text_of(hostile(HOSTILE))
    assert is_safe(text)
    assert [line for line in text.splitlines() if line.startswith("verdict:")] == [text.splitlines()[-1]]
    assert "\\x1b[2J" in text
    assert "[red]x[/red]" in text  # no markup either


def test_the_text_of_a_gate_forges_nothing() -> None:
    out = io.StringIO()
    print_gate(gate_of(HOSTILE), out)
    assert is_safe(out.getvalue())
    assert sum(line.startswith("verdict:") for line in out.getvalue().splitlines()) == 1


def test_a_console_lets_no_code_through_whatever_is_printed() -> None:
    out = io.StringIO()
    console = console_on(out, color=True)
    console.print(f"[bold]{HOSTILE}[/bold]")  # somebody forgot `plain`
    assert is_safe(_STYLE.sub("", out.getvalue()))
    assert "\x1b[1m" in out.getvalue()
    out.truncate(0)
    console.print(plain("[link=x]y[/link]\n"))
    assert "[link=x]y[/link]\\n" in out.getvalue()


def test_columns_stay_lines() -> None:
    assert columns([["a\nb", "c"]]) == ["a\\nb  c"]


def test_html_and_junit_show_what_they_cannot_carry() -> None:
    for text in (report_html(hostile(HOSTILE), Path("/runs/x")), to_junit(hostile(HOSTILE))):
        assert is_safe(text.replace("\t", ""))
        assert "\\x1b[2J" in text
        assert "\\u202e" in text


def test_an_error_that_quotes_lines_does_not_begin_one_of_ours() -> None:
    told = explain(InfraError("make ended: #warning\nverdict: good"))
    assert "\n    verdict: good" in told


_PROGRAM = """
import sys, click
from harness.cli.streams import make_visible
make_visible()
print(sys.argv[1].encode("ascii").decode("unicode_escape"))
click.echo("\\x1b7\\u202e\\udc80")
click.echo("\\x9b", err=True)
sys.stderr.write("\\x1b]0;x\\x07")
raise SystemExit(3)
"""


def test_whatever_way_words_take_they_pass_the_last_gate() -> None:
    for encoding in ("utf-8", "ascii", "latin-1"):
        done = subprocess.run(
            (sys.executable, "-c", _PROGRAM, "\\x1b[31m"),
            capture_output=True,
            check=False,
            env={**os.environ, "PYTHONIOENCODING": encoding, "PYTHONPATH": str(PACKAGE.parent)},
        )
        assert done.returncode == 3
        assert done.stdout == b"\\x1b[31m\n\\x1b7\\u202e\\udc80\n"
        assert done.stderr == b"\\x9b\n\\x1b]0;x\\x07"


def test_on_a_terminal_only_our_own_colours_are_codes(tmp_path: Path) -> None:
    run = tmp_path / "runs" / "20261120T000000-abcdef"
    run.mkdir(parents=True)
    cases = tuple(replace(case, message=HOSTILE, diagnostics=(HOSTILE,)) for case in REPORT.cases)
    save_report(run, replace(REPORT, id=run.name, cases=cases))
    master, slave = pty.openpty()
    environment = {
        **os.environ,
        "TTM_HARNESS_STORE": str(tmp_path),
        "PYTHONPATH": str(PACKAGE.parent),
        "TERM": "xterm",
    }
    with subprocess.Popen(
        (sys.executable, "-m", "harness", "report", run.name), stdout=slave, stderr=slave, env=environment
    ) as process:
        os.close(slave)
        seen = bytearray()
        while True:
            try:
                data = os.read(master, 65536)
            except OSError:
                break
            if not data:
                break
            seen += data
    os.close(master)
    text = seen.decode("utf-8").replace("\r\n", "\n")
    assert process.returncode == 1
    assert "\x1b[" in text
    assert is_safe(_STYLE.sub("", text)), text


def _calls(tree: ast.AST) -> list[str]:
    return [ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)]


def test_nothing_writes_beside_the_gate() -> None:
    """A new way to the terminal has to go through these two modules, or it is found here."""
    allowed = {"reports/console.py", "cli/streams.py"}
    beside = re.compile(r"(.*\.)?(Console|RichHandler)|sys\.__std(out|err)__\..*|.*std(out|err)\.buffer\.write")
    found = [
        f"{path.relative_to(PACKAGE)}: {call}"
        for path in PACKAGE.rglob("*.py")
        if str(path.relative_to(PACKAGE)) not in allowed
        for call in _calls(ast.parse(path.read_text("utf-8")))
        if beside.fullmatch(call)
    ]
    assert found == []
