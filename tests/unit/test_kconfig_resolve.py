# SPDX-License-Identifier: GPL-2.0-only
"""Asked is not got: symbols that are nowhere, asks that do not come out, and why, on a Kconfig tree of a page."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from harness.kernel import kconfig_explain
from harness.kernel.fragments import compose, parse_fragment
from harness.kernel.kconfig import compare_with_running, config_id, parse_config, resolve_config
from harness.kernel.symbols import Definition, names_in, parse_depends, scan
from harness.model.build import Config, Profile
from harness.model.errors import BuildFailed, CommandFailed, ConfigUnmet, InfraError, UserError
from harness.model.tree import Tree
from harness.proc import Deadline

KCONFIG = (Path(__file__).parent.parent / "data" / "kconfig" / "mini" / "Kconfig").read_text()

# A make that knows allnoconfig and olddefconfig: it copies what was asked, except for the symbols in DROP.
FAKE_MAKE = """\
#!/bin/sh
for word; do case $word in O=*) objects=${{word#O=}};; esac; done
case "$*" in
*allnoconfig) sed {rules} "$KCONFIG_ALLCONFIG" > "$objects/.config";;
*olddefconfig) {olddef} ;;
esac
"""


def write_tree(path: Path, text: str = KCONFIG) -> Tree:
    path.mkdir()
    (path / "Kconfig").write_text(text)
    (path / "arch").mkdir()
    (path / "arch" / "Kconfig.arm").write_text("config ARM_ONLY\n\tbool\n")
    return Tree("0" * 64, "7.3.4", "linux-test 7.3.4", path, "test")


def profile_of(text: str) -> Profile:
    return compose("p", [parse_fragment("frag", text)])


def fake_make(folder: Path, monkeypatch: pytest.MonkeyPatch, rules: str = "-e ''", olddef: str = ":") -> None:
    folder.mkdir(exist_ok=True)
    program = folder / "make"
    program.write_text(FAKE_MAKE.format(rules=rules, olddef=olddef))
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")


def resolve(tmp_path: Path, text: str, kconfig: str = KCONFIG) -> Config:
    return resolve_config(write_tree(tmp_path / "tree", kconfig), profile_of(text), tmp_path / "o", Deadline(60))


def test_what_came_out_is_the_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_make(tmp_path / "bin", monkeypatch)
    config = resolve(tmp_path, "CONFIG_ACPI=y\n# CONFIG_XE is not set\n# before 7.0: gone\nCONFIG_ELSEWHERE=y\n")
    assert config.text == "CONFIG_ACPI=y\n# CONFIG_XE is not set\n"
    assert [ask.symbol for ask in config.dropped] == ["ELSEWHERE"]


def test_a_misspelt_symbol_is_named_with_its_neighbours(tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"CONFIG_PLATFORM_DEVICE \(frag\.config:2, did you mean PLATFORM_DEVICES\?\)"
    ):
        resolve(tmp_path, "CONFIG_ACPI=y\nCONFIG_PLATFORM_DEVICE=y\n")


def test_a_misspelt_symbol_that_is_to_be_off_is_named_too(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"CONFIG_QQQQ \(frag\.config:1\)"):
        resolve(tmp_path, "# CONFIG_QQQQ is not set\n")


def unmet_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, *rules: str) -> str:
    fake_make(tmp_path / "bin", monkeypatch, " ".join(f"-e '{rule}'" for rule in rules))
    with pytest.raises(ConfigUnmet) as caught:
        resolve(tmp_path, text)
    return caught.value.message


def test_an_unmet_dependency_is_explained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = unmet_message(
        tmp_path, monkeypatch, "CONFIG_ACPI=y\nCONFIG_KUNIT=m\nCONFIG_X86=y\nCONFIG_XE=m\n", "/CONFIG_XE=/d"
    )
    assert "CONFIG_XE=m (frag.config:4) came out as n: it needs PLATFORM_DEVICES || !(X86 && ACPI) (" in said
    assert "ACPI is y, asked for in frag.config:1" in said
    assert "PLATFORM_DEVICES is n, in no fragment" in said
    assert "KUNIT is" not in said  # m is enough for a module
    assert said.startswith("1 of the symbols asked for did not come out of linux-test 7.3.4:")


def test_a_menu_s_dependency_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = unmet_message(tmp_path, monkeypatch, "CONFIG_KUNIT=y\nCONFIG_XE_DEBUG=y\n", "/XE_DEBUG/d")
    assert "ACPI (ACPI is n, in no fragment)" in said
    assert "XE (XE is n, in no fragment)" in said


@pytest.mark.parametrize(
    ("asks", "rule", "said"),
    [
        ("CONFIG_CPUS=99", "s/99/8/", "CONFIG_CPUS=99 (frag.config:1) came out as 8: its range is 2..8"),
        ("CONFIG_BUDDY=m", "d", "it cannot be set by hand, only be selected by XE is n, in no fragment"),
        ("CONFIG_PICK_TWO=y", "s/.*/CONFIG_PICK_ONE=y/", "it is one of a choice, and the choice is PICK_ONE"),
        ("CONFIG_ARM_ONLY=y", "d", "only other architectures have it"),
        ("CONFIG_OLD_NAME=y", "d", "it cannot be set by hand, and nothing selects it"),
        ("CONFIG_ACPI=y", "d", "its dependencies are met, so another rule of Kconfig sets it"),
    ],
)
def test_other_reasons(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asks: str, rule: str, said: str) -> None:
    assert said in unmet_message(tmp_path, monkeypatch, asks + "\n", rule)


def test_a_selected_symbol_that_was_to_be_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asks = "CONFIG_ACPI=y\nCONFIG_KUNIT=y\nCONFIG_PLATFORM_DEVICES=y\nCONFIG_XE=y\n# CONFIG_BUDDY is not set\n"
    said = unmet_message(tmp_path, monkeypatch, asks, "s/# CONFIG_BUDDY is not set/CONFIG_BUDDY=y/")
    assert "CONFIG_BUDDY=n (frag.config:5) came out as y: it cannot be set by hand, and is selected by XE" in said


def test_without_kconfiglib_the_files_are_read_plainly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_make(tmp_path / "bin", monkeypatch, "-e '/CONFIG_XE/d'")
    odd = KCONFIG + '\nconfig ODD\n\tquantum "keyword that nobody knows"\n'
    with pytest.raises(ConfigUnmet) as caught:
        resolve(tmp_path, "CONFIG_ACPI=y\nCONFIG_XE=m\n", odd)
    assert (
        f"Kconfig:{KCONFIG.split(chr(10)).index('config XE') + 1} depends on PLATFORM_DEVICES || !(X86 && ACPI) ("
        in caught.value.message
    )
    assert "kconfiglib cannot read this tree" in caught.value.message
    assert "quantum" in caught.value.message


def test_an_oracle_that_dies_is_no_more_than_a_note(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_make(tmp_path / "bin", monkeypatch, "-e '/CONFIG_XE/d'")

    def fail(*_: object, **__: object) -> None:
        raise CommandFailed(("kconfig_query",), -9, "")

    monkeypatch.setattr(kconfig_explain, "run", fail)
    with pytest.raises(ConfigUnmet, match="came out as n"):
        resolve(tmp_path, "CONFIG_XE=m\n")


def test_a_tree_that_was_configured_inside_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = "echo '***'; echo '*** The source tree is not clean, please run mrproper'; exit 2"
    fake_make(tmp_path / "bin", monkeypatch, olddef=said)
    with pytest.raises(UserError, match="configured or built inside"):
        resolve(tmp_path, "CONFIG_ACPI=y\n")


def test_broken_kconfig_files_are_the_tree_s_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_make(tmp_path / "bin", monkeypatch, olddef="echo 'drivers/gpu/Kconfig:7: syntax error'; exit 1")
    with pytest.raises(BuildFailed, match=r"drivers/gpu/Kconfig:7: syntax error"):
        resolve(tmp_path, "CONFIG_ACPI=y\n")


def test_a_make_that_fails_otherwise_or_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_make(tmp_path / "bin", monkeypatch, olddef="echo odd; exit 1")
    with pytest.raises(CommandFailed, match="odd"):
        resolve(tmp_path, "CONFIG_ACPI=y\n")
    fake_make(tmp_path / "bin", monkeypatch, olddef='rm "$objects/.config"')
    with pytest.raises(InfraError, match=r"left no \.config"):
        resolve_config(
            Tree("0" * 64, "7.3.4", "t", tmp_path / "tree", "t"),
            profile_of("CONFIG_ACPI=y\n"),
            tmp_path / "o",
            Deadline(60),
        )


# The readings


def test_the_id_of_a_config_ignores_its_comments() -> None:
    one = "#\n# Linux/x86 7.3.4 Kernel Configuration\n#\nCONFIG_A=y\n# CONFIG_B is not set\n"
    assert config_id(one) == config_id("# Linux/x86 7.3.5\r\nCONFIG_A=y\r\n# CONFIG_B is not set\r\n")
    assert config_id(one) != config_id(one.replace("A=y", "A=m"))
    assert parse_config(one) == {"A": "y", "B": "n"}


def test_the_running_kernel_is_compared_symbol_by_symbol() -> None:
    config = Config("id", "p", 'CONFIG_A=y\n# CONFIG_B is not set\nCONFIG_S="x"\n')
    assert compare_with_running(config, 'CONFIG_S="x"\nCONFIG_A=y\n') == ()
    differences = compare_with_running(config, 'CONFIG_A=m\nCONFIG_C=y\nCONFIG_S="x"\n')
    assert [str(item) for item in differences] == ["CONFIG_A: asked y, got m", "CONFIG_C: asked n, got y"]


def test_symbols_are_found_with_their_places(tmp_path: Path) -> None:
    tree = write_tree(tmp_path / "tree")
    (tree.path / "scripts" / "kconfig" / "tests" / "x").mkdir(parents=True)
    (tree.path / "scripts" / "kconfig" / "tests" / "x" / "Kconfig").write_text("config NOT_REAL\n")
    found = scan(tree.path)
    assert found["XE"] == (Definition("Kconfig", KCONFIG.split("\n").index("config XE") + 1),)
    assert found["ARM_ONLY"] == (Definition("arch/Kconfig.arm", 1),)
    assert "NOT_REAL" not in found


def test_plain_dependencies_are_those_of_the_entry_alone() -> None:
    assert parse_depends(KCONFIG, KCONFIG.split("\n").index("config XE_DEBUG") + 1) == ("XE && KUNIT",)
    assert names_in("A && !(B = m) || A") == ("A", "B")
