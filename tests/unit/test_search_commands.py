# SPDX-License-Identifier: GPL-2.0-only
"""The verbs that search: mistakes in the input are sentences with status 2, before anything is fetched."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from harness.cli.searches import parse_budget, parse_percent, without_paths
from harness.cli.verbs import cli
from harness.model.errors import UserError

SUITE = ("--suite", "pressure")


@pytest.fixture(autouse=True)
def _store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TTM_HARNESS_STORE", str(tmp_path / "store"))


def called(*words: str) -> Result:
    return CliRunner().invoke(cli, [*words, "--quiet"])


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("bisect", *SUITE), "nothing is named to search"),
        (("bisect",), "Missing option '--suite'"),
        (("bisect", "--suite", "no-such", "--over", "debian:6.12", "--over", "debian:7.3"), "there is no suite"),
        (("bisect", *SUITE, "--over", "debian:6.12"), "two ends at least"),
        (("bisect", *SUITE, "--over", "debian:6.12", "--source", "debian"), "says it again"),
        (("bisect", *SUITE, "--over", "a", "--over", "b", "--confidence", "100%"), "--confidence '100%' is no share"),
        (("bisect", *SUITE, "--over", "a", "--over", "b", "--fails", "often"), "--fails 'often' is no share"),
        (("bisect", *SUITE, "--over", "a", "--over", "b", "--budget", "soon"), "--budget 'soon' is no time"),
        (("bisect", *SUITE, "--over", "a", "--over", "b", "--fingerprint", "xyz"), "is no fingerprint"),
        (("bisect", *SUITE, "--over", "a", "--over", "b", "--fingerprint", "abcd", "--red", "x"), "say two things"),
        (("bisect", *SUITE, "--over", "a", "--over", "b", "--ram", "64M", "--ram", "96M"), "boots one machine"),
        (("bisect", *SUITE, "--source", "debian", "--revisions", "v1..v3"), "needs a series"),
        (("bisect", *SUITE, "--over", "a", "--revisions", "v1..v3"), "two searches"),
        (("frontier", *SUITE, "--x", "caching=wb,wc"), "caching has no order"),
        (("frontier", *SUITE, "--x", "swap=0..1G"), "both axes are swap"),
        (("frontier", *SUITE, "--ram", "64M"), "ram is an axis, and has a value of its own, too"),
        (("frontier", *SUITE, "--y", "total=50%..90%/10", "--knob", "bo=1M,total=80%"), "total is an axis"),
        (("frontier", *SUITE, "--budget", "0m"), "is no time"),
        (("frontier", "--suite", "no-such"), "there is no suite"),
        (("minimise", "no-such-run"), "there is no run 'no-such-run'"),
        (("minimise", "latest"), "there is no finished run"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_a_mistake_is_a_sentence(words: tuple[str, ...], why: str) -> None:
    result = called(*words)
    assert result.exit_code == 2, result.output
    assert why in result.output
    assert "Traceback" not in result.output


def test_a_mistake_makes_no_commit_bad() -> None:
    """For `git bisect run` 2 would be a bad commit; from 128 on it stops."""
    assert called("bisect", *SUITE, "--git-step", "--case", "?!").exit_code == 128
    assert called("bisect", *SUITE, "--git-step", "--source", "/no/such/place").exit_code == 128
    assert called("bisect", "--git-step").exit_code == 128
    assert called("bisect", *SUITE, "--git-step", "--most", "many").exit_code == 128
    assert called("bisect").exit_code == 2


def test_times_and_shares() -> None:
    assert (parse_budget(None), parse_budget("90s"), parse_budget("1.5h")) == (None, 90.0, 5400.0)
    assert parse_percent("95%", "--confidence", 50, 99) == parse_percent("95", "--confidence", 50, 99) == 0.95
    for text in ("", "-1m", "1d", "1e3s", "inf"):
        with pytest.raises(UserError):
            parse_budget(text)


def test_a_mail_has_no_path_of_this_machine() -> None:
    command = "ttm-harness bisect --series mbox:/home/ada/v3.mbox --source /srv/linux --over git:~/src/linux@a..b"
    assert without_paths(command) == ("ttm-harness bisect --series mbox:v3.mbox --source linux --over git:linux@a..b")
