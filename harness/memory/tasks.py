# SPDX-License-Identifier: GPL-2.0-only
"""Tasks, what they wait for, and shrinkers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from harness.memory.kernel import UNREADABLE, KernelImage, Object
from harness.model.memory import KernelTask, Shrinker
from harness.model.visible import visible_field

Counts = Callable[[KernelImage, Object], Iterable[tuple[str, int]]]  # of a struct shrinker

_MOST_TASKS = 1 << 14
_MOST_WAITERS = 64
_MOST_SHRINKERS = 1 << 12
_MOST_STACKS = 64
_STACK_BYTES = 16 << 10
_OWNER = (1 << 64) - 8  # the lower bits of a mutex's owner are flags
_UNINTERRUPTIBLE, _NOLOAD = 0x2, 0x400
_LETTERS = ((0x1, "S"), (0x2, "D"), (0x4, "T"), (0x8, "t"), (0x80, "X"), (0x1000, "N"))


@dataclass(frozen=True, slots=True)
class Lock:
    owner: str
    waiters: tuple[str, ...]


def mutex_of(kernel: KernelImage, address: int) -> Lock:
    """Who holds it, and who waits."""
    mutex = kernel.at("struct mutex", address)
    owner = int(mutex.owner.counter) & _OWNER
    return Lock(task_name(kernel, owner) if owner else "", tuple(_waiters(kernel, mutex)))


def task_name(kernel: KernelImage, address: int) -> str:
    """`comm (pid N)`; what lies at an address may be no task."""
    try:
        task = kernel.at("struct task_struct", address)
        return f"{_comm(task)} (pid {int(task.pid)})"
    except UNREADABLE:
        return f"what is no task ({address:#x})"


def _comm(task: Object) -> str:
    return visible_field(bytes(task.comm.string_()).decode("utf-8", "replace"))


def _waiters(kernel: KernelImage, mutex: Object) -> Iterator[str]:
    if not kernel.has("struct mutex_waiter"):
        return
    link = kernel.offset("struct mutex_waiter", "list")
    if kernel.has("struct mutex", "first_waiter"):
        first = int(mutex.first_waiter)
        nodes = (first + link, *kernel.ring(first + link, _MOST_WAITERS).nodes) if first else ()
    elif kernel.has("struct mutex", "wait_list"):
        nodes = kernel.ring(int(mutex.wait_list.address_of_()), _MOST_WAITERS).nodes
    else:
        return
    for node in nodes:
        try:
            yield task_name(kernel, int(kernel.outer("struct mutex_waiter", "list", node).task))
        except UNREADABLE:
            return


def tasks(kernel: KernelImage) -> tuple[tuple[KernelTask, ...], str]:
    """All of them; stacks only of those that run or wait uninterruptibly. And what is wrong with their list."""
    try:
        init = kernel.at("struct task_struct", kernel.symbol("init_task"))
        leaders = kernel.ring(int(init.tasks.address_of_()), _MOST_TASKS)
        heads = [
            int(init.address_),
            *(int(kernel.outer("struct task_struct", "tasks", at).address_) for at in leaders.nodes),
        ]
    except UNREADABLE as error:
        return (), f"tasks: {error}"
    found: list[KernelTask] = []
    stacks = 0
    seen: set[int] = set()
    for address in (thread for head in heads for thread in _threads(kernel, head)):
        if address in seen or len(seen) >= _MOST_TASKS:
            continue
        seen.add(address)
        try:
            task = kernel.at("struct task_struct", address)
            state = _state(kernel, task)
            shown = state in ("D", "on CPU") and stacks < _MOST_STACKS
            stacks += shown
            found.append(
                KernelTask(
                    int(task.pid),
                    _comm(task),
                    state,
                    int(task.thread_info.cpu) if kernel.has("struct thread_info", "cpu") else -1,
                    kernel.stack(task) if shown else (),
                    _waits(kernel, task) if state != "on CPU" else "",
                )
            )
        except UNREADABLE:
            continue
    return tuple(found), f"tasks: {leaders.problem}" if leaders.problem else ""


def _threads(kernel: KernelImage, leader: int) -> Iterator[int]:
    yield leader
    try:
        signal = kernel.at("struct task_struct", leader).signal
        nodes = kernel.ring(int(signal.thread_head.address_of_()), _MOST_TASKS).nodes
        yield from (int(kernel.outer("struct task_struct", "thread_node", node).address_) for node in nodes)
    except UNREADABLE:
        return


def _state(kernel: KernelImage, task: Object) -> str:
    if kernel.has("struct task_struct", "on_cpu") and int(task.on_cpu):
        return "on CPU"
    state = int(task.member_("__state"))
    if not state:
        return "Z" if int(task.exit_state) else "R"
    if state & _UNINTERRUPTIBLE and state & _NOLOAD:
        return "I"
    return next((letter for bit, letter in _LETTERS if state & bit), "?")


def _waits(kernel: KernelImage, task: Object) -> str:
    """For which lock, and who holds it."""
    try:
        mutex = _mutex_waited_for(kernel, task)
        if not mutex:
            return ""
        owner = mutex_of(kernel, mutex).owner
        return f"for the mutex {kernel.name_of(mutex)}, held by {owner or 'nobody'}"
    except UNREADABLE:
        return ""


def _mutex_waited_for(kernel: KernelImage, task: Object) -> int:
    """Newer kernels say it; in older ones the waiter is on the task's stack."""
    if kernel.has("struct task_struct", "blocked_on"):
        return int(task.blocked_on)
    if not kernel.has("struct mutex_waiter") or not kernel.has("struct mutex", "wait_list"):
        return 0
    address, bottom = int(task.address_), int(task.stack)
    top = int(task.thread.sp)
    if not bottom <= top < bottom + _STACK_BYTES:
        return 0
    words = kernel.words(top, (bottom + _STACK_BYTES - top) // 8)
    beyond = kernel.offset("struct mutex_waiter", "task")
    for index, word in enumerate(words):
        found = _mutex_of_waiter(kernel, top + 8 * index - beyond, address) if word == address else 0
        # Other waiters look alike; only this one is of who is in the function that takes a mutex.
        if found and any("mutex_lock" in frame for frame in kernel.stack(task)):
            return found
    return 0


def _mutex_of_waiter(kernel: KernelImage, waiter: int, task: int) -> int:
    """Of the nodes in the ring of a waiter one is the list of the mutex: its owner is a task."""
    node = waiter + kernel.offset("struct mutex_waiter", "list")
    found = kernel.ring(node, _MOST_WAITERS)
    if found.problem:
        return 0
    for one in found.nodes:
        mutex = kernel.outer("struct mutex", "wait_list", one)
        owner = int(mutex.owner.counter) & _OWNER
        if owner not in (0, task) and not task_name(kernel, owner).startswith("what is no task"):
            return int(mutex.address_)
    return 0


def shrinkers(kernel: KernelImage, known: Mapping[str, Counts]) -> tuple[tuple[Shrinker, ...], str]:
    """All that are registered, and what is wrong with their list. `known` gives figures, by the name of the function
    that counts: that itself cannot be called any more.
    """
    try:
        found = kernel.ring(kernel.symbol("shrinker_list"), _MOST_SHRINKERS)
    except UNREADABLE as error:
        return (), f"shrinkers: {error}"
    read = (_shrinker(kernel, kernel.outer("struct shrinker", "list", node), known) for node in found.nodes)
    return tuple(one for one in read if one is not None), f"shrinkers: {found.problem}" if found.problem else ""


def _shrinker(kernel: KernelImage, one: Object, known: Mapping[str, Counts]) -> Shrinker | None:
    try:
        count = kernel.name_of(int(one.count_objects))
        name = kernel.text(int(one.name), 64) if kernel.has("struct shrinker", "name") and int(one.name) else count
        deferred = kernel.word(int(one.nr_deferred)) if int(one.nr_deferred) else 0
        return Shrinker(name, count, deferred, tuple(known[count](kernel, one)) if count in known else ())
    except UNREADABLE:
        return None
