# SPDX-License-Identifier: GPL-2.0-only
"""Fragments and profiles: what is an ask, what contradicts what, and that nothing but a UserError comes out."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.checkout import data_directory
from harness.kernel.fragments import (
    all_asks,
    compose,
    for_version,
    parse_fragment,
    parse_profiles,
    read_profile,
    read_profiles,
)
from harness.model.arch import ARCHES
from harness.model.build import ConfigOption
from harness.model.errors import UserError


def test_asks_are_read_with_their_lines() -> None:
    text = '# words\n\nCONFIG_A=y\r\n# CONFIG_B is not set\nCONFIG_C=0x1F\nCONFIG_D="a \\"b\\""\n'
    text += "CONFIG_E=-1\nCONFIG_F=n\n"
    assert parse_fragment("f", text).asks == (
        ConfigOption("A", "y", "f", 3),
        ConfigOption("B", "n", "f", 4),
        ConfigOption("C", "0x1F", "f", 5),
        ConfigOption("D", '"a \\"b\\""', "f", 6),
        ConfigOption("E", "-1", "f", 7),
        ConfigOption("F", "n", "f", 8),
    )


@pytest.mark.parametrize(
    "line",
    [
        "CONFIG_A=yes",
        "CONFIG_A = y",
        "CONFIG_A=y # why",
        "A=y",
        " CONFIG_A=y",
        'CONFIG_A="open',
        "# CONFIG_A is not  set",
        "#CONFIG_A is not set",
        "# CONFIG_A is unset",
        "# since 7",
        "# since 7.0",
        "# before 7.0.1: x",
        "# since 7.0 before 7.1: x",
        "# since 7.1, before 7.0: x",
        "\0",
    ],
)
def test_a_malformed_line_is_named(line: str) -> None:
    with pytest.raises(UserError, match=r"^bad\.config:2: "):
        parse_fragment("bad", f"CONFIG_X=y\n{line}\n")


@given(st.text())
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        asks = parse_fragment("f", text).asks
    except UserError:
        return
    assert all(text.split("\n")[ask.line - 1].rstrip().find(ask.symbol) >= 0 for ask in asks)


_LINES = st.lists(
    st.one_of(
        st.from_regex(r'CONFIG_[AB]=(y|m|n|1|0x1|"x")', fullmatch=True),
        st.sampled_from(
            ["# CONFIG_A is not set", "# since 7.0: x", "# before 6.15: x", "# since 6.1, before 7.0:", ""]
        ),
    )
)


@given(_LINES)
def test_lines_that_fit_give_what_they_say_or_contradict(lines: list[str]) -> None:
    try:
        fragment = parse_fragment("f", "\n".join(lines))
    except UserError as error:
        assert "is asked to be" in error.message
        return
    again = "\n".join(ask.config_line for ask in fragment.asks if type(ask) is ConfigOption)
    assert [ask.value for ask in parse_fragment("f", again).asks] == [
        ask.value for ask in fragment.asks if type(ask) is ConfigOption
    ]


def test_a_contradiction_names_both_places() -> None:
    one, two = parse_fragment("one", "\nCONFIG_A=y\n"), parse_fragment("two", "CONFIG_A=m\n")
    with pytest.raises(UserError, match=r"CONFIG_A is asked to be y in one\.config:2 and m in two\.config:1"):
        compose("p", [one, two])


def test_the_same_twice_is_fine() -> None:
    profile = compose("p", [parse_fragment("one", "CONFIG_A=y\n"), parse_fragment("two", "CONFIG_A=y\n")])
    assert [ask.value for ask in all_asks(profile)] == ["y", "y"]


def test_asks_for_other_kernels_do_not_contradict_and_are_dropped() -> None:
    text = "# since 7.0: there\nCONFIG_A=y\nCONFIG_B=y\n# before 7.0: not yet\nCONFIG_A=m\n\nCONFIG_C=y\n"
    profile = compose("p", [parse_fragment("f", text)])
    new, dropped = for_version(profile, (7, 3, 4))
    assert [(ask.symbol, ask.value) for ask in all_asks(new)] == [("A", "y"), ("B", "y"), ("C", "y")]
    assert [(ask.symbol, ask.value) for ask in dropped] == [("A", "m")]
    old, _ = for_version(profile, (6, 12, 117))
    assert [(ask.symbol, ask.value) for ask in all_asks(old)] == [("A", "m"), ("C", "y")]


def test_ranges_that_meet_contradict() -> None:
    with pytest.raises(UserError, match="is asked to be"):
        parse_fragment("f", "# since 6.12: x\nCONFIG_A=y\n# before 7.0: x\nCONFIG_A=m\n")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[a", "not TOML"),
        ("a = 1", r"profiles\.toml:1: a: 1 is not a table"),
        ('[a]\nfragments = ["b"]', r"profiles\.toml:1: a\.about: is missing"),
        ('[a]\nabout = "x"\nfragments = []', "profile a has no fragments"),
        ('[a]\nabout = "x"\nfragments = [1]', r"profiles\.toml:3: a\.fragments\[1\]: 1 is not a string"),
        ('[a]\nabout = "x"\nfragments = ["b"]\nmore = 1', r"profiles\.toml:4: a\.more: there is no such key"),
        ('[a]\nabout = "x"\nfragments = ["b"]\nslowness = 0.5', "slowness of profile a"),
        ('[a]\nabout = "x"\nfragments = ["b"]\nslowness = "6"', "a.slowness: '6' is not a number"),
        ('[a]\nabout = "x"\nfragments = ["b"]\nslowness = inf', "a.slowness: inf is not a number"),
    ],
)
def test_a_wrong_profile_file_is_explained(text: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        parse_profiles(text)


def test_an_unknown_profile_lists_those_that_there_are() -> None:
    with pytest.raises(UserError, match="no profile 'leen'") as caught:
        read_profile("leen", data_directory("kernel-configs"))
    assert caught.value.hint is not None and "lean" in caught.value.hint


def test_a_missing_fragment_is_named_with_its_profile(tmp_path: Path) -> None:
    (tmp_path / "profiles.toml").write_text('[p]\nabout = "x"\nfragments = ["gone"]\n')
    with pytest.raises(UserError, match=r"profile p names the fragment 'gone', but .*gone\.config cannot be read"):
        read_profile("p", tmp_path)
    with pytest.raises(UserError, match="cannot be read"):
        read_profile("p", tmp_path / "nowhere")
    (tmp_path / "gone.config").write_bytes(b"\xff\n")
    with pytest.raises(UserError, match="not UTF-8"):
        read_profile("p", tmp_path)


def test_the_project_s_own_profiles_are_sound() -> None:
    folder = data_directory("kernel-configs")
    names = [entry.name for entry in read_profiles(folder)]
    assert {"lean", "tiny", "debug"} <= set(names)
    used = set()
    for name in names:
        profile = read_profile(name, folder)
        used |= {fragment.name for fragment in profile.fragments}
        for version in ((6, 12, 0), (6, 15, 0), (7, 3, 0)):
            assert len(all_asks(for_version(profile, version)[0])) > 50
    assert read_profile("lean", folder).slowness == 1.0
    assert read_profile("debug", folder).slowness > 1.0
    assert used == {path.name.partition(".")[0] for path in folder.glob("*.config")}, (
        "a fragment that no profile uses"
    )
    ends = {path.stem.partition(".")[2] for path in folder.glob("*.config")} - {""}
    assert ends == {arch.name for arch in ARCHES}, "a part of a fragment that no architecture has"


def test_lean_asks_for_what_the_suites_stand_on() -> None:
    profile, _ = for_version(read_profile("lean", data_directory("kernel-configs")), (7, 3, 4))
    asked = {ask.symbol: ask.value for ask in all_asks(profile)}
    wanted = {
        "DRM_XE": "m",
        "DRM_TTM_KUNIT_TEST": "m",
        "DRM_XE_KUNIT_TEST": "m",
        "FAULT_INJECTION_DEBUG_FS": "y",
        "SHRINKER_DEBUG": "y",
        "PSI": "y",
        "MEMCG": "y",
        "IKCONFIG_PROC": "y",
        "SWAP": "y",
    }
    assert {symbol: asked.get(symbol) for symbol in wanted} == wanted
