# SPDX-License-Identifier: GPL-2.0-only
"""A kernel source of a few files and a guest that is a script, so that a run takes a second and not minutes.

What is made up is the kernel's side alone: a source whose Makefile answers to kbuild's targets, and a `vng` that says
on the console and the control channel what a guest of the profile `tiny` says. All of the harness is real, and so are
make, tar and the processes. The script `vng` is this file.
"""

from __future__ import annotations

import io
import json
import shlex
import socket
import sys
import tarfile
import threading
import time
import tomllib
from pathlib import Path

RELEASE = "7.3.4"
# A guest that left one of these out would be no good one. Beside the copy that is `vng` lies a copy of the manifest.
_COPY = Path(__file__).with_name("kunit-self.toml")
_OWN = Path(__file__).parents[2] / "harness" / "subjects" / "kunit" / "kunit-self" / "manifest.toml"
_MANIFEST = _COPY if _COPY.is_file() else _OWN
CASES = list(tomllib.loads(_MANIFEST.read_text("utf-8"))["cases"])
RUN = (
    "--profile",
    "tiny",
    "--suite",
    "kunit-self",
    "--accel",
    "tcg",
    "--ram",
    "128M",
    "--swap",
    "none",
    "--seed",
    "1",
)

_MAKEFILE = """\
VERSION = 7
PATCHLEVEL = 3
SUBLEVEL = 4
EXTRAVERSION =

.PHONY: allnoconfig olddefconfig bzImage modules modules_install
allnoconfig:
\tcp $(KCONFIG_ALLCONFIG) $(O)/.config
olddefconfig:
\ttest -s $(O)/.config
STEPS = $(foreach n,1 2 3 4 5 6 7 8 9 10,$(O)/mm/$(n).o)
$(O)/mm/%.o:
\t@mkdir -p $(O)/mm; echo "  CC      mm/$*.o"; sleep 0.02; echo $* >$@
$(O)/image: $(STEPS)
\tmkdir -p $(O)/kernel $(O)/arch/x86/boot $(O)/include/config
\techo 7.3.4 >$(O)/include/config/kernel.release
\techo symbols >$(O)/System.map
\techo x >$(O)/Module.symvers
\techo ko >$(O)/kernel/foo.ko
\techo kernel/foo.o >$(O)/modules.order
\techo image >$(O)/arch/x86/boot/bzImage
\techo elf >$(O)/vmlinux
\ttouch $@
bzImage modules: $(O)/image
modules_install:
\tmkdir -p $(INSTALL_MOD_PATH)/lib/modules/7.3.4
\tcp -r $(O)/kernel $(INSTALL_MOD_PATH)/lib/modules/7.3.4/
\ttouch $(INSTALL_MOD_PATH)/lib/modules/7.3.4/modules.dep
"""


def write_source(archive: Path) -> None:
    """The source, as a tar archive; it defines every symbol that the profile asks for."""
    from harness.checkout import data_directory
    from harness.kernel.fragments import all_asks, read_profile

    asks = all_asks(read_profile("tiny", data_directory("kernel-configs")))
    kconfig = "".join(f"config {ask.symbol}\n\ttristate\n" for ask in asks)
    files = {
        "Makefile": _MAKEFILE,
        "Kconfig": 'source "init/Kconfig"\n',
        "init/Kconfig": kconfig,
        "mm/a.c": "int a;\n",
    }
    with tarfile.open(archive, "w") as tar:
        for name, text in files.items():
            member = tarfile.TarInfo(f"linux-{RELEASE}/{name}")
            member.size = len(text.encode())
            tar.addfile(member, io.BytesIO(text.encode()))


def write_guest(folder: Path) -> None:
    """The script `vng` in a folder that is to be first in PATH."""
    folder.mkdir(parents=True, exist_ok=True)
    # A guest is contained: of the host it sees where programs are, and not this checkout.
    copy = folder / "standin.py"
    copy.write_bytes(Path(__file__).read_bytes())
    (folder / _COPY.name).write_bytes(_MANIFEST.read_bytes())
    script = folder / "vng"
    script.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -I -S {shlex.quote(str(copy))} "$@"\n')
    script.chmod(0o755)


class Guest:
    """What vng was told, and the two channels of the guest."""

    def __init__(self, argv: list[str]) -> None:
        options = next(word for word in argv if word.startswith("--qemu-opts=")).removeprefix("--qemu-opts=")
        self.words = shlex.split(options)
        self.control = Path(self._value("-chardev", "file,id=harnessctl,path="))
        self.results = Path(self._value("-fsdev", "local,id=share0,path=").partition(",")[0])
        self.monitor = Path(self._value("-qmp", "unix:").partition(",")[0])
        self.cmdline = self.words[self.words.index("-append") + 1]
        self.ram = int(argv[argv.index("--memory") + 1].rstrip("M")) << 20
        self.cpus = argv[argv.index("--cpus") + 1]
        self._began = time.monotonic()

    def _value(self, option: str, start: str) -> str:
        pairs = zip(self.words, self.words[1:], strict=False)
        return next(value for name, value in pairs if name == option and value.startswith(start)).removeprefix(start)

    def note(self, kind: str, text: str) -> None:
        with self.control.open("ab") as file:
            file.write(f"@{kind} {len(text.encode())} {text}\n".encode())

    def say(self, text: str) -> None:
        print(f"[{time.monotonic() - self._began:12.6f}] {text}", flush=True)

    def facts(self) -> dict[str, str]:
        job = dict(word.partition("=")[::2] for word in shlex.split((self.results / "job").read_text()))
        sizes = {"ram": self.ram, "mem_total": self.ram - (24 << 20), "mem_free": self.ram - (32 << 20)}
        plain = dict.fromkeys(("swap_total", "free_pcp", "held", "taint"), "0")
        empty = dict.fromkeys(("zswap", "memory_max", "memory_high"), "")
        asked = (line.split() for line in job["HARNESS_SYSCTLS"].splitlines())
        sysctl = {name: "1" if value == "-" else value for name, value in asked}
        own = {"release": RELEASE, "cmdline": self.cmdline, "cpus": self.cpus, "seed": job["HARNESS_SEED"]}
        return {**own, **{name: str(size) for name, size in sizes.items()}, **plain, **empty, **sysctl}


def monitor(server: socket.socket, asked_of_it: threading.Event) -> None:
    """QMP, as far as it is asked."""
    with server:
        while True:
            connection, _ = server.accept()
            with connection, connection.makefile("rwb", buffering=0) as file:
                file.write(b'{"QMP": {}}\n')
                for line in file:
                    asked = json.loads(line)["execute"]
                    if asked == "query-kvm":
                        asked_of_it.set()
                    answer = {"enabled": False, "present": True} if asked == "query-kvm" else {}
                    file.write(json.dumps({"return": answer}).encode() + b"\n")


def main(argv: list[str]) -> None:
    """A guest from its first line to its last."""
    guest = Guest(argv)
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(guest.monitor))
    server.listen()
    asked = threading.Event()
    threading.Thread(target=monitor, args=(server, asked), daemon=True).start()
    guest.say(f"Linux version {RELEASE} (made up)")
    time.sleep(0.1)
    guest.note("ready", "0.1")
    facts = guest.facts()
    for name, value in facts.items():
        guest.note("fact", f"{name}={value}")
    guest.note("facts-end", str(len(facts)))
    (guest.results / "config").write_text((guest.results.parent / "config").read_text())
    guest.say("ttm-harness: suite kunit-self begin")
    guest.note("start", "kunit-self")
    (guest.results / "kunit-self.announced").write_text("".join(f"{name}\n" for name in CASES))
    guest.note("announced", f"kunit-self {len(CASES)}")
    broken = "broken=1" in guest.cmdline
    for line in ktap(broken):
        guest.say(line)
        time.sleep(0.005)
    misbehave(guest)
    guest.say("ttm-harness: suite kunit-self end 0")
    guest.note("result", "kunit-self 0")
    guest.note("fact", "taint_end=0")
    asked.wait(30)  # a real guest is not gone before a busy host has looked at it
    guest.note("exit", "1")
    time.sleep(0.05)


def misbehave(guest: Guest) -> None:
    """As `flood=CHANNEL` on the kernel's command line has it: more than anybody will keep."""
    for _ in range(80):
        if "flood=console" in guest.cmdline:
            sys.stdout.write("[    1.000000] flood\n" * 5000)
            sys.stdout.flush()
        if "flood=control" in guest.cmdline:
            guest.note("beat", "x" * 50_000)
        if "flood=results" in guest.cmdline:
            (guest.results / f"flood{time.monotonic_ns()}").write_bytes(b"x" * 50_000)
        if "flood=" in guest.cmdline:
            time.sleep(0.02)


def ktap(broken: bool) -> list[str]:
    suites: dict[str, list[str]] = {}
    for case in CASES:
        suite, _, name = case.partition(".")
        suites.setdefault(suite, []).append(name)
    lines = ["KTAP version 1", f"1..{len(suites)}"]
    for number, (suite, names) in enumerate(suites.items(), 1):
        lines += ["    KTAP version 1", f"    # Subtest: {suite}", f"    1..{len(names)}"]
        bad = {names[-1]} if broken and number == 1 else set()
        lines += [f"    {'not ok' if name in bad else 'ok'} {place} {name}" for place, name in enumerate(names, 1)]
        lines.append(f"{'not ok' if bad else 'ok'} {number} {suite}")
    return lines


if __name__ == "__main__":
    main(sys.argv[1:])
