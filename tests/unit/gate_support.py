# SPDX-License-Identifier: GPL-2.0-only
"""What the tests of the gate share: a make that makes what is not there yet and believes what is, as kbuild does with
files that are younger than their sources.
"""

from __future__ import annotations

from pathlib import Path

import pytest

FAKE_MAKE = """\
#!/bin/sh
for word; do
    case $word in
    O=*) objects=${word#O=} ;;
    *.o) targets="$targets $word" ;;
    *=*) ;;
    *) last=$word ;;
    esac
done
cd "$objects" || exit 2
case $last in
allnoconfig)
    if grep -q nonsense ../Kconfig; then
        echo "Kconfig:1: syntax error"
        exit 2
    fi
    cp "$KCONFIG_ALLCONFIG" .config
    exit
    ;;
olddefconfig) exit ;;
esac
mkdir -p drivers include
if ! [ -f include/offsets.s ]; then
    echo "  CC      include/offsets.s"
    if grep -q nonsense ../include/linux/mm.h; then
        echo "../include/linux/mm.h:1:1: error: unknown type name 'nonsense'"
        echo "make[2]: *** [../Kbuild:9: include/offsets.s] Error 1"
        echo "make[1]: *** [../Makefile:9: prepare0] Error 2"
        exit 2
    fi
    cat ../include/linux/mm.h > include/offsets.s
    echo "deps := ../include/linux/mm.h" > include/.offsets.s.cmd
fi
[ -f drivers/table.h ] || cat ../drivers/table.rules > drivers/table.h 2> /dev/null
for target in $targets; do
    source=${target%.o}.c
    if ! [ -f "../$source" ]; then
        echo "make[3]: *** No rule to make target '$target'."
        status=2
        continue
    fi
    echo "  CC      $target"
    echo "../$source:1:1: warning: made of $(cat include/offsets.s drivers/table.h "../$source" | tr '\\n' ' ')"
    mkdir -p "${target%/*}"
    echo "source_$target := ../$source" > "drivers/.${target##*/}.cmd"
    : > "$target"
done
exit ${status:-0}
"""


def install_make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "make").write_text(FAKE_MAKE)
    (folder / "make").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
