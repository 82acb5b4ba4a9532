# SPDX-License-Identifier: GPL-2.0-only
"""Runs a command that must not outlive the harness: `tether.py FD WORD...`, started by `proc.spawn`.

Standard library only, because it starts in an isolated interpreter. FD is the read end of a pipe whose other end
only the harness holds: end of file means that the harness is gone, by kill -9 too. Then, or on SIGTERM, the
whole process group is terminated and, after a grace, killed. Ends with the command's status; a command ended by
signal N gives 128 + N, as shells do.
"""

import os
import select
import signal
import sys
import time

GRACE_SECONDS = 3.0


def main(argv: list[str]) -> int:
    leash = int(argv[0])
    wake_read, wake_write = os.pipe()
    os.set_blocking(wake_write, False)
    signal.set_wakeup_fd(wake_write)
    ending = False

    def on_term(*_: object) -> None:
        nonlocal ending
        ending = True

    signal.signal(signal.SIGTERM, on_term)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the harness's to handle
    signal.signal(signal.SIGCHLD, lambda *_: None)
    child = os.fork()
    if child == 0:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.close(leash)
        try:
            os.execvp(argv[1], argv[1:])
        except OSError as error:
            os.write(2, f"{argv[1]}: {error.strerror}\n".encode())
            os._exit(127)
    while not ending:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            end_group()
            return exit_status(status)
        ready, _, _ = select.select([leash, wake_read], [], [])
        if wake_read in ready:
            os.read(wake_read, 512)
        if leash in ready and not os.read(leash, 1):
            ending = True
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # the group's own signal must not end this process
    os.killpg(0, signal.SIGTERM)
    limit = time.monotonic() + GRACE_SECONDS
    while time.monotonic() < limit:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            end_group()
            return exit_status(status)
        time.sleep(0.02)
    os.killpg(0, signal.SIGKILL)
    return 1  # not reached: the group is this process's own


def end_group() -> None:
    """Ends what the command left behind (QEMU outlives the shell that vng starts it from)."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    os.killpg(0, signal.SIGTERM)


def exit_status(status: int) -> int:
    if os.WIFSIGNALED(status):
        return 128 + os.WTERMSIG(status)
    return os.WEXITSTATUS(status)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
