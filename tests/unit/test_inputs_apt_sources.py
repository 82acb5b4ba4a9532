# SPDX-License-Identifier: GPL-2.0-only
"""The host's apt sources in all their forms, and what the private root makes of them."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.inputs.apt import apt_is_own
from harness.inputs.apt_sources import Repository, parse_deb822, parse_one_line, plan, read_host, to_sources
from harness.inputs.debian_version import compare_versions, upstream_version
from harness.proc import find_tool

KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
BOOKWORM = f"""\
# a comment
Types: deb deb-src
# another, in the middle
URIs: http://mirror.example/debian
Suites: bookworm bookworm-updates
Components: main contrib
Signed-By: {KEYRING}

Types: deb
URIs: http://mirror.example/debian-security
Suites: bookworm-security
Components: main
Signed-By: {KEYRING}
"""
ARCHIVE = Repository(
    ("http://mirror.example/debian",), ("bookworm", "bookworm-updates"), ("main",), (("Signed-By", KEYRING),)
)


def test_deb822() -> None:
    first, second = parse_deb822(BOOKWORM)
    assert first == ARCHIVE
    assert second.suites == ("bookworm-security",)
    assert second.is_security
    assert not first.is_security


def test_deb822_inline_key_continuation_and_other_case() -> None:
    text = (
        "types: deb\nuris: http://a.example/debian\n http://b.example/debian\nsuites: sid\ncomponents: main\n"
        "signed-by:\n -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n mQINBF\n -----END PGP PUBLIC KEY BLOCK-----\n"
    )
    (one,) = parse_deb822(text)
    assert one.uris == ("http://a.example/debian", "http://b.example/debian")
    assert "\n .\n mQINBF\n" in one.to_deb822()
    assert parse_deb822(one.to_deb822()) == [one]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "garbage",
        "Types: deb-src\nURIs: http://m/debian\nSuites: sid\nComponents: main\n",
        "Enabled: no\nTypes: deb\nURIs: http://m/debian\nSuites: sid\nComponents: main\n",
        "Enabled: False\nTypes: deb\nURIs: http://m/debian\nSuites: sid\nComponents: main\n",
        "Types: deb\nURIs: http://m/debian\nSuites: ./\n",
        "Types: deb\nURIs: http://m/debian\nSuites: sid\nComponents: contrib non-free\n",
        "Types: deb\nURIs: cdrom:[Debian]/\nSuites: sid\nComponents: main\n",
        "Types: deb\nSuites: sid\nComponents: main\n",
        "#Types: deb\n#URIs: http://m/debian\n#Suites: sid\n#Components: main\n",
        " continuation of nothing\n",
    ],
)
def test_deb822_that_is_of_no_use(text: str) -> None:
    assert parse_deb822(text) == []


def test_one_line() -> None:
    text = (
        "# deb http://m.example/debian off main\n"
        "deb http://m.example/debian bookworm main contrib # why\n"
        "  deb   [ signed-by=/k.gpg arch=amd64,i386 trusted=yes check-valid-until=no ]  "
        " http://n.example/d  sid   main\n"
        "deb-src http://m.example/debian bookworm main\n"
        "deb cdrom:[Debian]/ bookworm main\n"
        "deb http://flat.example ./\n"
        "deb [arch=amd64] https://third.example/apt stable contrib\n"
        "nonsense\n"
    )
    first, second = parse_one_line(text)
    assert first == Repository(("http://m.example/debian",), ("bookworm",), ("main",))
    assert second.uris == ("http://n.example/d",)
    assert second.options == (("Signed-By", "/k.gpg"), ("Trusted", "yes"), ("Check-Valid-Until", "no"))


def test_one_line_with_several_keyrings() -> None:
    (one,) = parse_one_line("deb [signed-by=/a.gpg,/b.gpg] http://m/debian sid main")
    assert one.signed_by == "/a.gpg /b.gpg"


def test_one_line_with_an_unclosed_quote_does_not_raise() -> None:
    parse_one_line("deb [signed-by='/a.gpg] http://m/debian sid main")


@given(st.text())
@settings(max_examples=200)
def test_no_text_makes_the_parsers_raise(text: str) -> None:
    parse_deb822(text)
    parse_one_line(text)
    parse_one_line(f"deb [{text}] http://m/debian sid main")


def test_read_host_reads_all_files_and_no_others(tmp_path: Path) -> None:
    parts = tmp_path / "sources.list.d"
    parts.mkdir()
    (tmp_path / "sources.list").write_text("deb http://one/debian sid main\n")
    (parts / "b.sources").write_text(BOOKWORM)
    (parts / "a.list").write_text("deb http://two/debian sid main\n")
    (parts / "c.list.disabled").write_text("deb http://three/debian sid main\n")
    assert [one.uris[0] for one in read_host(tmp_path)] == [
        "http://one/debian", "http://two/debian", "http://mirror.example/debian", "http://mirror.example/debian-security",
    ]  # fmt: skip
    assert read_host(tmp_path / "none") == []


def test_plan_of_a_debian_host() -> None:
    archive, security, wider = plan(parse_deb822(BOOKWORM))
    assert (archive.suites, security.suites) == (("bookworm", "bookworm-updates"), ("bookworm-security",))
    assert wider.suites == ("sid", "trixie-backports", "trixie")
    assert (wider.uris, wider.options) == (archive.uris, archive.options)


def test_plan_leaves_out_what_is_there_and_third_parties() -> None:
    host = parse_one_line(
        "deb http://m/debian trixie main\n"
        "deb http://m/debian sid main\n"
        "deb http://m/debian-security trixie/updates main\n"
        "deb [signed-by=/usr/share/keyrings/vendor.gpg] https://vendor.example/debian bookworm main\n"
        "deb http://m/other bookworm-pgdg main\n"
    )
    planned = plan(host)
    assert [one.suites for one in planned] == [("trixie",), ("sid",), ("trixie/updates",), ("trixie-backports",)]
    assert {uri for one in planned for uri in one.uris} == {"http://m/debian", "http://m/debian-security"}


def test_plan_believes_a_mirror_with_a_key_of_its_own_when_it_is_the_only_one() -> None:
    host = parse_one_line("deb [signed-by=/etc/apt/keyrings/company.gpg] https://mirror.example/debian trixie main")
    assert [one.suites for one in plan(host)] == [("trixie",), ("sid", "trixie-backports")]


def test_plan_of_ubuntu_is_its_own_suites() -> None:
    text = (
        "Types: deb\nURIs: http://archive.example/ubuntu/\nSuites: noble noble-updates noble-backports\n"
        "Components: main universe restricted multiverse\n"
        "Signed-By: /usr/share/keyrings/ubuntu-archive-keyring.gpg\n\n"
        "Types: deb\nURIs: http://ppa.example/x\nSuites: noble\nComponents: main\n"
        "Signed-By: /etc/apt/keyrings/ppa.gpg\n"
    )
    (one,) = plan(parse_deb822(text))
    assert one.suites == ("noble", "noble-updates", "noble-backports")
    assert one.components == ("main", "universe")


def test_plan_with_security_alone_adds_nothing() -> None:
    assert len(plan(parse_one_line("deb http://m/debian-security trixie-security main"))) == 1
    assert plan([]) == []
    assert to_sources([]) == ""


VERSIONS = [
    "6.12~rc1-1~exp1", "6.12-1", "6.12.1-1~bpo12+1", "6.12.1-1", "6.12.9-1", "6.12.117-1~deb12u1", "6.12.117-1",
    "6.12.117-1+b1", "7.2.13-1~bpo13+1", "7.2.13-1", "7.3.4-1~bpo13+1", "7.3.4-1", "1:1.0-1",
]  # fmt: skip


def test_versions_in_order() -> None:
    for number, one in enumerate(VERSIONS):
        for other_number, other in enumerate(VERSIONS):
            assert compare_versions(one, other) == (number > other_number) - (number < other_number), (one, other)


def test_versions_that_are_equal() -> None:
    assert compare_versions("1.0-1", "1.00-01") == 0
    assert compare_versions("0:1.0", "1.0") == 0
    assert compare_versions("1.0", "1.0-0") == 0


WORD = st.from_regex(r"\A[0-9][0-9a-zA-Z.+~]{0,8}(-[0-9a-zA-Z.+~]{1,5})?\Z")


@pytest.mark.skipif(find_tool("dpkg") is None, reason="no dpkg to compare with")
@given(WORD, WORD)
@settings(max_examples=60, deadline=None)
def test_versions_as_dpkg_has_them(one: str, other: str) -> None:
    for relation, expected in (("lt", -1), ("eq", 0), ("gt", 1)):
        said = subprocess.run(["dpkg", "--compare-versions", one, relation, other], check=False).returncode == 0
        assert said == (compare_versions(one, other) == expected), (one, relation, other)


@given(WORD, WORD)
def test_versions_compare_both_ways(one: str, other: str) -> None:
    assert compare_versions(one, other) == -compare_versions(other, one)
    assert compare_versions(one, one) == 0


def test_upstream_version() -> None:
    assert [upstream_version(one) for one in ("7.3.4-1~bpo13+1", "6.8.0-60.63", "1:7.4~rc1-1", "7.3")] == [
        "7.3.4", "6.8.0", "7.4~rc1", "7.3",
    ]  # fmt: skip


def host(place: Path, sources: str, *keys: str) -> Path:
    """An /etc/apt with these sources, and these files in it."""
    (place / "sources.list.d").mkdir(parents=True)
    (place / "trusted.gpg.d").mkdir()
    (place / "sources.list.d" / "one.sources").write_text(sources.replace(KEYRING, f"{place}/debian-archive.gpg"))
    for name in keys:
        (place / name).write_bytes(b"a key")
    return place


UNSIGNED = "Types: deb\nURIs: http://mirror.example/debian\nSuites: sid\nComponents: main\n"


@pytest.mark.parametrize(
    ("sources", "keys", "own"),
    [
        (BOOKWORM, ["debian-archive.gpg"], True),
        (BOOKWORM, [], False),  # somebody wrote down sources, and nothing can check them
        (BOOKWORM, ["trusted.gpg.d/other.gpg"], False),
        (UNSIGNED, ["trusted.gpg.d/any.asc"], True),
        (UNSIGNED, ["trusted.gpg"], True),
        (UNSIGNED, [], False),
        (f"{UNSIGNED}Trusted: yes\n", [], True),
        (f"{UNSIGNED}Trusted: no\n", [], False),
        (f"{UNSIGNED}Signed-By: 0123ABCD\n", ["trusted.gpg.d/any.gpg"], True),  # a fingerprint
        (f"{UNSIGNED}Signed-By:\n -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n mQ\n", [], True),
        ("# nothing, as an apt beside dnf or pacman has it\n", ["trusted.gpg.d/any.gpg"], False),
    ],
)
def test_whose_apt_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sources: str, keys: list[str], own: bool
) -> None:
    place = host(tmp_path / "apt", sources, *keys)
    monkeypatch.setattr("harness.inputs.apt.find_tool", lambda name: Path("/usr/bin", name))
    assert apt_is_own(place) is own
    monkeypatch.setattr("harness.inputs.apt.find_tool", lambda name: None)
    assert not apt_is_own(place)
    assert not apt_is_own(tmp_path / "nowhere")
