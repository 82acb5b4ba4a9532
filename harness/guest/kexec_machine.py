# SPDX-License-Identifier: GPL-2.0-only
"""A test machine that is reached by ssh: what it is told, and what it answers.

All of ours there lies in one directory of its disk. A restart always leads back to the machine's own kernel: nothing
is installed, and no boot loader is told anything.

Whoever uses the machine has a claim in that directory; one of a harness that was killed is taken over by the next one
of the same store, or by anybody when its time is over.
"""

from __future__ import annotations

import hashlib
import secrets
import shlex
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from harness.guest.agent import Ended
from harness.guest.kexec import MachineFacts, why_not_loaded
from harness.guest.ssh import HostKeyChanged, Login
from harness.model.address import SshAddress
from harness.model.errors import DeadlineExceeded, HarnessError, InfraError, UserError
from harness.model.units import MIB, about_size
from harness.proc import Deadline
from harness.store.files import locked
from harness.store.layout import Layout

_ASK_SECONDS = 120.0
_SEND_SECONDS = 1800.0
_LEAVE_SECONDS = 120.0
_ANSWER_SECONDS = 60.0
_POLL_SECONDS = 2.0
_SPARE = 64 * MIB
_MOST_BACK = 1 << 30
_OURS = ".ttm-harness-test-machine"

_LOOK = """
PATH=$PATH:/usr/sbin:/sbin
echo "boot $(cat /proc/sys/kernel/random/boot_id)"
echo "now $(date +%s)"
echo "arch $(uname -m)"
echo "release $(uname -r)"
echo "cpus $(grep -c ^processor /proc/cpuinfo)"
for tool in kexec tar sha256sum blkid fallocate flock setsid; do
	command -v $tool >/dev/null || echo "lacks $tool"
done
[ ! -r /sys/kernel/kexec_loaded ] || echo "kexec yes"
echo "disabled $(cat /proc/sys/kernel/kexec_load_disabled 2>/dev/null)"
echo "lockdown $(cat /sys/kernel/security/lockdown 2>/dev/null)"
while [ ! -d "$place" ]; do place=${place%/*}; place=${place:-/}; done
set -- $(df -Pk "$place" | tail -n 1)
echo "device $1"
echo "room $4"
echo "mounted $6"
echo "type $(blkid -o value -s TYPE "$1")"
echo "uuid $(blkid -o value -s UUID "$1")"
while read -r _ _ _ within where _; do
	[ "$where" != "$6" ] || last=$within
done </proc/self/mountinfo
echo "within $last"
sed -n 's/^[^ ].*System RAM/ram &/p' /proc/iomem
for one in /sys/module/ramoops/parameters/*; do
	[ ! -r "$one" ] || echo "ramoops ${one##*/} $(cat "$one")"
done
peer=${client%% *}
echo "peer $peer"
echo "route $(ip -o -4 route get "$peer" 2>/dev/null | head -n 1)"
for one in /sys/class/net/*; do echo "card ${one##*/} $(cat "$one/address" 2>/dev/null)"; done
while read -r ip _ _ mac _; do echo "neighbour $ip $mac"; done </proc/net/arp
"""
# What kernels left in memory that a restart leaves alone, and where systemd puts it.
_DUMPS = """
dumps() {
	find /sys/fs/pstore /var/lib/systemd/pstore -type f '(' -name 'dmesg*' -o -name 'console-*' ')' 2>/dev/null
}
"""
# By what is in them: systemd moves them, and a console that a kernel left before is there again under the same name.
_NOTE_DUMPS = """
dumps | while read -r one; do cksum <"$one"; done >"$place/now/dumps"
"""
# The kernel's memory has few places for them: one that was read makes room for the next.
_NEW_DUMPS = """
dumps | while read -r one; do
	! grep -qxF "$(cksum <"$one")" "$place/now/dumps" || continue
	head -c 1048576 "$one"
	printf '\\n\\0'
	case $one in /sys/fs/pstore/dmesg*) rm -f "$one" ;; esac
done
"""
# Whose the directory is, is settled one at a time; `theirs` is told when somebody else's time is not over.
_CLAIM = """
umask 077
if mkdir -p "${place%/*}" && mkdir "$place" 2>/dev/null; then : >"$place/$ours"; fi
[ ! -h "$place" ] && [ -f "$place/$ours" ] && [ -O "$place/$ours" ] || { echo alien; exit 0; }
exec 9>"$place/lock"
flock -w 20 9 || { echo busy; exit 0; }
if read -r token owner until who <"$place/claim"; then
	if [ "$owner" != "$me" ] && [ "$until" -gt "$(date +%s)" ]; then
		echo "theirs $(($until - $(date +%s))) $who"
		exit 0
	fi
fi 2>/dev/null
echo "$mine $me $(($(date +%s) + $seconds)) $name" >"$place/claim.part" && mv "$place/claim.part" "$place/claim" &&
	echo mine
"""
_LEAVE = """
read -r token _ <"$place/claim" 2>/dev/null
[ "$token" = "$mine" ] && [ -f "$place/$ours" ] || exit 0
"""
_GO = """
sync
setsid sh -c 'sleep 1; sync; echo u >/proc/sysrq-trigger; sleep 1; kexec -e -x; echo b >/proc/sysrq-trigger' \\
	</dev/null >/dev/null 2>&1 9>&- &
"""


@dataclass(frozen=True, slots=True)
class SentPart:
    """A file that is sent, named there by the hash of its content; `folder` is where it is unpacked, if it is."""

    path: Path
    digest: str
    folder: str = ""


class KexecMachine:
    """A test machine that is held: nobody else of this harness uses it meanwhile."""

    def __init__(self, address: SshAddress, home: Path, owner: str, name: str) -> None:
        """`owner` stands for the store whose claims on it are ours, `name` for people."""
        self._login = Login(address, home)
        self.place = address.place
        self.whom = address.spoken
        self._owner, self._name = owner, name
        self._token = secrets.token_hex(8)
        self._sudo: str | None = None

    def look(self) -> MachineFacts:
        """What it is. UserError where its user is not root and cannot be without a password."""
        return MachineFacts.parse(self._ask(_LOOK))

    def claim(self, seconds: float) -> str:
        """Makes it ours for so long; who has it and for how long, where it is somebody else's."""
        who = {"me": self._owner, "mine": self._token, "name": self._name}
        answer = self._ask(_CLAIM, {**who, "ours": _OURS, "seconds": str(int(seconds))})
        words = answer.split()
        if words == ["mine"]:
            return ""
        if words == ["alien"]:
            raise UserError(
                f"{self.place} of {self.whom} is not the harness' own directory",
                hint="take it away, or name another one: ssh:USER@HOST/PATH",
            )
        if words[:1] == ["theirs"] and len(words) > 2:
            return f"{' '.join(words[2:])} (for {words[1]} s at most)"
        return "somebody else, just now"

    def clean(self) -> None:
        """Takes away what a boot left there, but not what was sent to boot from."""
        self._ask(_LEAVE + 'rm -rf "$place/now" "$place"/parts/*.part', {"mine": self._token, "ours": _OURS})

    def leave(self) -> None:
        """Takes away all of ours."""
        self._ask(_LEAVE + 'rm -rf "$place"', {"mine": self._token, "ours": _OURS})

    def close(self) -> None:
        self._login.close()

    def bring(self, parts: Sequence[SentPart], more: int, room: int) -> int:
        """Sends what is not there already; the bytes that were sent. `more` is needed beside it, `room` is there."""
        there = self._ask('mkdir -p "$place/parts" && cd "$place/parts" && sha256sum -- * 2>/dev/null || :').split()
        good = {name for digest, name in zip(there[::2], there[1::2], strict=False) if digest == name}
        left = [part for part in parts if part.digest not in good]
        sizes = {part.digest: part.path.stat().st_size for part in parts}
        needed = sum(sizes[part.digest] for part in left) + sum(sizes.values()) + more + _SPARE
        if needed > room:
            raise InfraError(
                f"the disk of {self.whom} has {about_size(room)} free at {self.place}, and {about_size(needed)} are "
                "needed",
                hint="make room there, or name a directory on another disk: ssh:USER@HOST/PATH",
            )
        for part in left:
            self._send(part, sizes[part.digest])
        return sum(sizes[part.digest] for part in left)

    def lay_out(self, parts: Sequence[SentPart], swap: Sequence[tuple[str, int]], results: Path) -> None:
        """Puts the directory together from which the test kernel goes on."""
        lines = ['set -e; cd "$place"; rm -rf now; mkdir now now/results now/swap']
        for part in parts:
            lines.append(f"mkdir now/{part.folder}; tar -xf parts/{part.digest} -C now/{part.folder}")
        for name, size in swap:
            lines.append(f"(umask 077; fallocate -l {size} now/swap/{name})")
            lines.append(f"now/root/bin/busybox mkswap now/swap/{name} >/dev/null")
        self._ask("\n".join(lines))
        self._ask(_DUMPS + _NOTE_DUMPS)
        for name in ("job", "suites"):
            self._tell('cat >"$place/now/results/$name"', {"name": name}, source=(results / name).read_bytes())

    def load(self, image: SentPart, begins: SentPart, cmdline: Sequence[str]) -> None:
        """Loads the kernel; UserError where the machine's own does not take it."""
        parts = f"{self.place}/parts"
        files = (f"{parts}/{image.digest}", f"--initrd={parts}/{begins.digest}")
        words = shlex.join(("kexec", "-c", "-l", *files, f"--command-line={' '.join(cmdline)}"))
        ended = self._tell(f"PATH=$PATH:/usr/sbin:/sbin; {words} 2>&1; echo; cat /sys/kernel/kexec_loaded")
        said, _, loaded = ended.text.strip().rpartition("\n")
        if loaded.strip() != "1":
            raise UserError(
                f"the own kernel of {self.whom} does not take the test kernel: {why_not_loaded(said)}",
                hint="Secure Boot, lockdown and kernel.kexec_load_disabled forbid it; dmesg there may say more",
            )

    def go(self) -> None:
        """Off it goes, in a second or two."""
        self._ask(_GO.replace("setsid", "PATH=$PATH:/usr/sbin:/sbin; setsid"))
        self._login.close()

    def wait(self, before: str, deadline: Deadline, stop: threading.Event) -> str:
        """Until it is back, by the id of its boot: that, or nothing when the deadline passed or `stop` was set.
        InfraError where it never left.
        """
        leaving = Deadline(_LEAVE_SECONDS)
        while not deadline.passed and not stop.wait(_POLL_SECONDS):
            try:
                now = self._login.run("cat /proc/sys/kernel/random/boot_id", timeout=_ANSWER_SECONDS).text.strip()
            except HostKeyChanged:
                raise
            except HarnessError:  # it is on its way: nobody answers, or nobody is let in yet
                self._login.close()
                continue
            if now and now != before:
                return now
            if leaving.passed:
                raise InfraError(f"{self.whom} did not leave its own kernel for the test kernel")
        return ""

    def fetch(self, archive: Path) -> None:
        """Brings the results here, as an archive."""
        with archive.open("wb") as file:
            left = _MOST_BACK

            def keep(piece: bytes) -> None:
                nonlocal left
                left -= len(piece)
                if left < 0:
                    raise InfraError(f"the test kernel left more than {about_size(_MOST_BACK)} of results")
                file.write(piece)

            self._tell('tar -C "$place/now/results" -cf - .', out=keep, timeout=_SEND_SECONDS)

    def dumps(self) -> tuple[bytes, ...]:
        """What a kernel that ended left in memory for the next one to read, since the directory was laid out."""
        said = self._tell(_DUMPS + _NEW_DUMPS).out
        return tuple(piece for piece in said.split(b"\0") if piece.strip())

    @property
    def peer(self) -> str:
        """Its address, as it is connected to."""
        return self._login.peer

    def _send(self, part: SentPart, size: int) -> None:
        """Goes on where an earlier try ended; what arrived is believed by its hash alone."""
        for _ in range(2):
            file = f'"$place/parts/{part.digest}.part"'
            have = self._ask(f"stat -c %s {file} 2>/dev/null || echo 0").strip()
            begin = int(have) if have.isdecimal() and int(have) <= size else 0
            with part.path.open("rb") as source:
                source.seek(begin)
                self._tell(f"cat {'>>' if begin else '>'}{file}", source=source, timeout=_SEND_SECONDS)
            done = (
                f'[ "$(sha256sum <{file})" = "{part.digest}  -" ] && sync && mv {file} "$place/parts/{part.digest}"'
            )
            if self._ask(f"{{ {done}; }} && echo whole || rm -f {file}").strip() == "whole":
                return
        raise InfraError(f"{part.path.name} does not arrive whole at {self.whom}")

    def _ask(self, script: str, values: Mapping[str, str] | None = None) -> str:
        return self._tell(script, values).text

    def _tell(
        self,
        script: str,
        values: Mapping[str, str] | None = None,
        *,
        source: bytes | BinaryIO | None = None,
        out: Callable[[bytes], object] | None = None,
        timeout: float = _ASK_SECONDS,
    ) -> Ended:
        """Runs a script as root; InfraError where it fails."""
        given = {"place": self.place, **(values or {})}
        lines = "".join(f"{name}={shlex.quote(value)}\n" for name, value in given.items())
        # Who is logged in from where, sudo does not hand on.
        line = f'{self._as_root()}sh -c {shlex.quote("client=$1; " + lines + script)} sh "$SSH_CONNECTION"'
        ended = self._login.run(line, timeout=timeout, source=source, out=out)
        if not ended.good:
            said = ended.err.decode("utf-8", "replace").strip()
            if "No space left" in said:
                raise InfraError(f"the disk of {self.whom} is full, or its part at {self.place} is")
            raise InfraError(f"{self.whom} does not do what it is told: {why_not_loaded(said)}")
        return ended

    def _as_root(self) -> str:
        if self._sudo is None:
            if self._login.run("id -u", timeout=_ASK_SECONDS).text.strip() == "0":
                self._sudo = ""
            elif self._login.run("sudo -n true", timeout=_ASK_SECONDS).good:
                self._sudo = "sudo -n "
            else:
                raise UserError(
                    f"{self.whom} is not root, and sudo asks for a password", hint="root, or sudo with NOPASSWD"
                )
        return self._sudo


@contextmanager
def held(
    address: SshAddress,
    layout: Layout,
    names: tuple[Path, str],
    say: Callable[[str], None],
    stop: threading.Event | None = None,
) -> Iterator[KexecMachine]:
    """The machine, when nobody else of this store uses it. `names`: the user's home, and this host's name."""
    key = hashlib.sha256(f"{address.host}:{address.port}{address.place}".encode()).hexdigest()[:16]
    owner = hashlib.sha256(f"{names[1]}:{layout.root}".encode()).hexdigest()[:16]
    with ExitStack() as stack:
        waits = False
        while True:
            try:
                stack.enter_context(locked(layout.locks / f"machine-{key}", Deadline(1.0)))
                break
            except DeadlineExceeded:
                if stop is not None and stop.is_set():
                    raise
                if not waits:
                    say(f"waiting for {address.spoken}, which another run uses")
                waits = True
        machine = KexecMachine(address, names[0], owner, names[1])
        stack.callback(machine.close)
        yield machine
