# SPDX-License-Identifier: GPL-2.0-only
"""Runs a command that must not outlive the harness: `reaper.py FD SCORE MEMORY FILE WORD...`, from `proc.spawn`.

Standard library only, because it starts in an isolated interpreter. FD is the read end of a pipe whose other end
only the harness holds: end of file means that the harness is gone, by kill -9 too. Then, or on SIGTERM, or when the
command ends by itself, what is left of the command's process group is terminated and, after a grace, killed; on
SIGUSR1 without the grace. Ends with the command's status; a command ended by signal N gives 128 + N, as shells do.
SCORE is the least oom_score_adj that the command gets: the harness may be kept from the host's OOM killer, what it
starts must not be. MEMORY and FILE are the most bytes that it may have mapped and write to one file; 0 is no limit.
"""

import os
import resource
import select
import signal
import sys
import time

GRACE_SECONDS = 3.0


def main(argv: list[str]) -> int:
    parent = int(argv[0])
    wake_read, wake_write = os.pipe()
    os.set_blocking(wake_write, False)
    signal.set_wakeup_fd(wake_write)
    ending = hurried = False

    def on_term(number: int, _: object) -> None:
        nonlocal ending, hurried
        ending, hurried = True, hurried or number == signal.SIGUSR1

    signal.signal(signal.SIGTERM, on_term)
    signal.signal(signal.SIGUSR1, on_term)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the harness's to handle
    signal.signal(signal.SIGCHLD, lambda *_: None)
    child = os.fork()
    if child == 0:
        bound({resource.RLIMIT_AS: int(argv[2]), resource.RLIMIT_FSIZE: int(argv[3])})
        become(argv[4:], parent, int(argv[1]))
    lead(child)
    status = None
    while status is None and not ending:
        status = reap(child)
        if status is None:
            ready, _, _ = select.select([parent, wake_read], [], [])
            if wake_read in ready:
                os.read(wake_read, 512)
            if parent in ready and not os.read(parent, 1):
                ending = True
    for number in (signal.SIGTERM, signal.SIGKILL):
        if not signal_group(child, number):
            break
        limit = time.monotonic() + GRACE_SECONDS
        while time.monotonic() < limit and signal_group(child, 0):
            status = reap(child) if status is None else status
            if hurried and number == signal.SIGTERM:
                break
            time.sleep(0.01)
    if status is None:
        _, status = os.waitpid(child, 0)
    return 128 + os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)


def become(words: list[str], parent: int, score: int) -> None:
    """The child: leads a group of its own, so that all of it can be signalled and waited for."""
    lead(0)
    stand_in_line(score)
    # An interpreter ignores the last two, and its children would, too: `yes | head` must end quietly.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)
    os.close(parent)
    try:
        os.execvp(words[0], words)
    except OSError as error:
        os.write(2, f"{words[0]}: {error.strerror}\n".encode())
        os._exit(127)


def bound(limits: dict[int, int]) -> None:
    """Sets those that are not 0, as far as a lower one does not hold already."""
    for name, most in limits.items():
        _, hard = resource.getrlimit(name)
        if most and (hard == resource.RLIM_INFINITY or most < hard):
            resource.setrlimit(name, (most, most))


def lead(process: int) -> None:
    """Makes the process the leader of a group. Parent and child do it both: neither may count on the other's turn."""
    try:
        os.setpgid(process, process)
    except OSError:
        pass  # it is done, and the command runs already


def stand_in_line(score: int) -> None:
    """Raises the chance of being the OOM killer's victim, which everybody may."""
    try:
        line = os.open("/proc/self/oom_score_adj", os.O_RDWR)
        if int(os.read(line, 32)) < score:
            os.pwrite(line, str(score).encode(), 0)
        os.close(line)
    except (OSError, ValueError):
        pass  # a host without it is none the worse


def reap(child: int) -> int | None:
    """The wait status if the child has ended."""
    pid, status = os.waitpid(child, os.WNOHANG)
    return status if pid else None


def signal_group(group: int, number: int) -> bool:
    """Whether there was anybody left to signal."""
    try:
        os.killpg(group, number)
    except (ProcessLookupError, PermissionError):
        return False
    return True


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
