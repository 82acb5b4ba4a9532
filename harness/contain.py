# SPDX-License-Identifier: GPL-2.0-only
"""Runs a command in a small world of its own: `contain.py BACKEND LIMITS VIEW... -- WORD...`, called by `sandbox.py`.

Standard library only, and little of it, because it starts in an isolated interpreter every time. LIMITS are numbers
with commas, the last of them 1 for the host's network; VIEW are triples of a kind (read, write, empty, device, link),
a path, and what is to be seen there. The namespaces (user, mount, pid, ipc, uts, and net where the network is not the
host's) are made by bubblewrap, or here with the same system calls where there is none. Inside, the caller is `nobody`
without capabilities: what it makes outside belongs to the caller, as the kernel maps one to the other.

This process stays outside and keeps the limits that no rlimit keeps: how many processes there are at once, their
memory together, the space that they leave on the disk. Whoever breaks one is ended as a whole, by the end of its pid
namespace. Ends with the command's status; one that was ended by signal N gives 128 + N, one that broke a limit
BROKEN.
"""

import ctypes
import os
import resource
import signal
import stat
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn  # which is long in loading

NOBODY = 65534
BROKEN = 125
FAILED = 126  # no world could be made
LOOK_SECONDS = 0.1
_MEMORY_EVERY = 5  # looks

_CLONE_NEWNS, _CLONE_NEWUTS, _CLONE_NEWIPC = 0x00020000, 0x04000000, 0x08000000
_CLONE_NEWUSER, _CLONE_NEWPID, _CLONE_NEWNET = 0x10000000, 0x20000000, 0x40000000
_MS_NOSUID, _MS_NODEV, _MS_NOEXEC, _MS_BIND, _MS_REC, _MS_SLAVE = 2, 4, 8, 4096, 16384, 1 << 19
_ATTR_RDONLY, _ATTR_NOSUID, _ATTR_NODEV = 1, 2, 4
_AT_FDCWD, _AT_RECURSIVE = -100, 0x8000
_MNT_DETACH = 2
_SYS_MOUNT_SETATTR = 442
_SYS_PIVOT_ROOT = {"x86_64": 155}.get(os.uname().machine, 41)
_PR_SET_PDEATHSIG, _PR_CAPBSET_DROP, _PR_SET_CHILD_SUBREAPER, _PR_SET_NO_NEW_PRIVS = 1, 24, 36, 38
_DEVICES = ("null", "zero", "full", "random", "urandom")
_PROC_COVERED = ("sys", "sysrq-trigger", "irq", "bus")  # what root could write to without any capability


class Spec:
    """What `sandbox.py` asks for; all sizes are bytes."""

    def __init__(self, argv: list[str]) -> None:
        numbers = [int(word) for word in argv[1].split(",")]
        self.backend = argv[0]
        self.file_size, self.address_space, self.processes, self.memory, self.reserve, self.scratch = numbers[:6]
        self.network = bool(numbers[6])
        end = argv.index("--")
        self.view = list(zip(argv[2:end:3], argv[3:end:3], argv[4:end:3], strict=True))
        self.words = argv[end + 1 :]


def main(argv: list[str]) -> int:
    spec = Spec(argv)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
    # What bubblewrap leaves comes here, to be waited for, and not to an init that may take its time.
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    told, tell = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(told)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})
            limit(spec)
            if spec.backend == "bwrap":
                os.set_inheritable(tell, True)
                os.execvp("bwrap", bwrap_words(spec, tell))
            become_contained(spec, tell)
        except OSError as error:
            os.write(2, f"contain: {error.filename or 'no namespaces'}: {error.strerror}\n".encode())
        os._exit(FAILED)
    os.close(tell)
    return keep(spec, child, told)


def limit(spec: Spec) -> None:
    """What the kernel counts for each process. Not RLIMIT_NPROC: all of the user's processes count for that."""
    for name, value in (
        (resource.RLIMIT_FSIZE, spec.file_size),
        (resource.RLIMIT_AS, spec.address_space),
        (resource.RLIMIT_CORE, 0),
    ):
        _, hard = resource.getrlimit(name)
        most = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(name, (most, most))


def keep(spec: Spec, child: int, told: int) -> int:
    """Waits for the command and looks that it keeps its limits."""
    looks = 0
    init = None
    while True:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            reap()
            return 128 + os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
        if init is None:
            init = read_init(told)
        elif broken := breach(spec, init, looks):
            for one in (init, child):
                try:
                    os.kill(one, signal.SIGKILL)
                except ProcessLookupError:
                    pass
            reap()
            os.write(2, f"contain: {broken}, and was ended\n".encode())
            return BROKEN
        looks += 1
        signal.sigtimedwait({signal.SIGCHLD}, LOOK_SECONDS)


def reap() -> None:
    """Waits for all that is left; it is ending, as the first process inside ended or was killed."""
    try:
        while True:
            os.wait()
    except ChildProcessError:
        pass


def read_init(told: int) -> int | None:
    """The pid, here outside, of the first process inside."""
    os.set_blocking(told, False)
    try:
        text = os.read(told, 4096)
    except BlockingIOError:
        return None
    _, _, rest = text.partition(b'"child-pid":')
    number = rest.lstrip().split(b",")[0].split(b"}")[0].strip()
    return int(number) if number.isdigit() else None  # the end of the file: it failed before


def breach(spec: Spec, init: int, looks: int) -> str | None:
    """Which limit is broken, in words; None for none."""
    proc = f"/proc/{init}/root/proc"
    try:
        processes = [name for name in os.listdir(proc) if name.isdigit()]
    except OSError:
        return None  # it is about to end
    if len(processes) > spec.processes:
        return f"it had more than {spec.processes} processes at once"
    for path in (path for kind, path, _ in spec.view if kind == "write"):
        facts = os.statvfs(path)
        if facts.f_bavail * facts.f_frsize < spec.reserve:
            return f"it left less than {spec.reserve >> 20} MiB free on the disk of {path}"
    if looks % _MEMORY_EVERY == 0:
        pages = sum(resident(f"{proc}/{name}/statm") for name in processes)
        if pages * resource.getpagesize() > spec.memory:
            return f"it took more than {spec.memory >> 20} MiB of memory"
    return None


def resident(path: str) -> int:
    """Pages; what is shared counts for each who has it."""
    try:
        with open(path, "rb") as file:
            return int(file.read().split()[1])
    except (OSError, IndexError):
        return 0


def bwrap_words(spec: Spec, tell: int) -> list[str]:
    """The command of bubblewrap that makes the world of the spec."""
    made = [
        "bwrap",
        "--unshare-all",
        "--unshare-user",
        "--uid",
        str(NOBODY),
        "--gid",
        str(NOBODY),
        "--cap-drop",
        "ALL",
    ]
    if spec.network:
        made.append("--share-net")
    made += ["--die-with-parent", "--info-fd", str(tell), "--hostname", "build"]
    made += ["--size", str(spec.scratch), "--tmpfs", "/tmp", "--proc", "/proc", "--dev", "/dev"]
    made += ["--size", str(1 << 20), "--tmpfs", "/dev/shm"]
    for kind, path, target in spec.view:
        if kind == "link":
            made += ["--symlink", target, path]
        elif kind == "empty":
            made += ["--size", str(spec.scratch), "--tmpfs", path]
        else:
            made += ["--dev-bind" if kind == "device" else "--bind" if kind == "write" else "--ro-bind", target, path]
    return [*made, "--remount-ro", "/dev", "--remount-ro", "/", "--chdir", os.getcwd(), "--", *spec.words]


def become_contained(spec: Spec, tell: int) -> "NoReturn":
    """The same without bubblewrap; returns only by an OSError."""
    user, group = os.geteuid(), os.getegid()
    cwd = os.getcwd()
    libc = ctypes.CDLL(None, use_errno=True)
    all_but_network = _CLONE_NEWUSER | _CLONE_NEWNS | _CLONE_NEWPID | _CLONE_NEWIPC | _CLONE_NEWUTS
    call(libc.unshare(all_but_network | (0 if spec.network else _CLONE_NEWNET)), "unshare")
    die_with_parent(libc)  # not before: other capabilities make the kernel forget it
    write("/proc/self/setgroups", "deny")
    write("/proc/self/uid_map", f"{NOBODY} {user} 1")
    write("/proc/self/gid_map", f"{NOBODY} {group} 1")
    init = os.fork()
    if init == 0:
        run_init(libc, spec, cwd)
    os.write(tell, f'{{"child-pid": {init}}}'.encode())
    _, status = os.waitpid(init, 0)
    os._exit(128 + os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status))


def run_init(libc: ctypes.CDLL, spec: Spec, cwd: str) -> "NoReturn":
    """The first process inside: makes the world, starts the command, takes in orphans."""
    try:
        die_with_parent(libc)
        make_world(libc, spec)
        os.chdir(cwd)
        command = os.fork()
        if command == 0:
            for number in range(64):
                libc.prctl(_PR_CAPBSET_DROP, number, 0, 0, 0)
            call(libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "prctl")
            os.execvp(spec.words[0], spec.words)  # as nobody, which leaves no capability
        while True:
            pid, status = os.wait()
            if pid == command:
                os._exit(128 + os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status))
    except OSError as error:
        os.write(2, f"contain: {error.filename or spec.words[0]}: {error.strerror}\n".encode())
    os._exit(FAILED)


def make_world(libc: ctypes.CDLL, spec: Spec) -> None:
    """A root of its own, with what the spec shows of the old one, which goes away."""
    mount(libc, None, "/", None, _MS_SLAVE | _MS_REC)
    mount(libc, "tmpfs", "/tmp", "tmpfs", _MS_NOSUID | _MS_NODEV)
    os.mkdir("/tmp/old")
    os.mkdir("/tmp/new")
    mount(libc, "/tmp/new", "/tmp/new", None, _MS_BIND | _MS_REC)
    call(libc.syscall(_SYS_PIVOT_ROOT, b"/tmp", b"/tmp/old"), "pivot_root")
    os.chdir("/")
    os.mkdir("/new/proc")
    mount(libc, "proc", "/new/proc", "proc", _MS_NOSUID | _MS_NODEV | _MS_NOEXEC)
    for name in _PROC_COVERED:
        if os.path.exists(f"/new/proc/{name}"):
            show(libc, f"/new/proc/{name}", f"/new/proc/{name}", _ATTR_RDONLY)
    os.mkdir("/new/tmp")
    mount(libc, "tmpfs", "/new/tmp", "tmpfs", _MS_NOSUID | _MS_NODEV, f"mode=1777,size={spec.scratch}")
    make_devices(libc)
    for kind, path, target in spec.view:
        new = "/new" + path
        if kind == "link":
            os.makedirs(os.path.dirname(new), exist_ok=True)
            os.symlink(target, new)
        elif kind == "empty":
            os.makedirs(new, exist_ok=True)
            mount(libc, "tmpfs", new, "tmpfs", _MS_NOSUID | _MS_NODEV, f"mode=755,size={spec.scratch}")
        else:
            attributes = _ATTR_RDONLY if kind == "read" else 0
            show(libc, "/old" + target, new, attributes | _ATTR_NOSUID | (0 if kind == "device" else _ATTR_NODEV))
    set_attributes(libc, "/new", _ATTR_RDONLY | _ATTR_NOSUID | _ATTR_NODEV, recursive=False)
    call(libc.umount2(b"/old", _MNT_DETACH), "umount")
    os.chdir("/new")
    call(libc.syscall(_SYS_PIVOT_ROOT, b".", b"."), "pivot_root")
    call(libc.umount2(b".", _MNT_DETACH), "umount")
    os.chdir("/")


def make_devices(libc: ctypes.CDLL) -> None:
    os.mkdir("/new/dev")
    mount(libc, "tmpfs", "/new/dev", "tmpfs", _MS_NOSUID, "mode=755,size=1M")
    for name in _DEVICES:
        show(libc, f"/old/dev/{name}", f"/new/dev/{name}", _ATTR_NOSUID)
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        os.symlink(f"/proc/self/fd/{number}", f"/new/dev/{name}")
    os.symlink("/proc/self/fd", "/new/dev/fd")
    os.mkdir("/new/dev/shm")


def show(libc: ctypes.CDLL, old: str, new: str, attributes: int) -> None:
    """The old place, with all that is mounted below, at the new one."""
    if not os.path.lexists(new):
        if stat.S_ISDIR(os.stat(old).st_mode):
            os.makedirs(new)
        else:
            os.makedirs(os.path.dirname(new), exist_ok=True)
            os.close(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644))
    mount(libc, old, new, None, _MS_BIND | _MS_REC)
    if attributes:
        set_attributes(libc, new, attributes, recursive=True)


def set_attributes(libc: ctypes.CDLL, path: str, attributes: int, recursive: bool) -> None:
    wanted = (ctypes.c_uint64 * 4)(attributes, 0, 0, 0)
    flags = _AT_RECURSIVE if recursive else 0
    done = libc.syscall(_SYS_MOUNT_SETATTR, _AT_FDCWD, os.fsencode(path), flags, ctypes.byref(wanted), 32)
    call(done, path)


def mount(
    libc: ctypes.CDLL, source: str | None, target: str, kind: str | None, flags: int, data: str | None = None
) -> None:
    words = [None if word is None else os.fsencode(word) for word in (source, target, kind)]
    call(libc.mount(*words, ctypes.c_ulong(flags), None if data is None else data.encode()), target)


def die_with_parent(libc: ctypes.CDLL) -> None:
    call(libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0), "prctl")


def write(path: str, text: str) -> None:
    with open(path, "w") as file:
        file.write(text)


def call(result: int, what: str) -> None:
    """OSError for a system call that failed."""
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), what)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
