# SPDX-License-Identifier: GPL-2.0-only
"""The options that say what machine the guest is: one group, for every verb that boots one."""

from __future__ import annotations

import functools
from collections.abc import Callable

import click

from harness.model.errors import UserError
from harness.model.machine import Accel, Machine, Swap
from harness.model.units import parse_size

_OPTIONS = (
    click.option("--ram", default="256M", show_default=True, help="RAM of the guest."),
    click.option(
        "--swap",
        default="disk:1G",
        show_default=True,
        metavar="none|AREA[+AREA…]",
        help="disk:SIZE, slow:SIZE[:RATE], zram:SIZE[:ALGORITHM], zswap:SIZE[:ALGORITHM][:PERCENT%][:RATE], "
        "each with @PRIORITY; RATE is SIZE a second, or NUMBERiops.",
    ),
    click.option("--cpus", default=2, show_default=True, help="vCPUs of the guest."),
    click.option("--memory-max", metavar="SIZE", help="memory.max of a cgroup around the load."),
    click.option("--memory-high", metavar="SIZE", help="memory.high of a cgroup around the load."),
    click.option("--swappiness", type=int, metavar="N", help="vm.swappiness, 0 to 200."),
    click.option("--min-free", metavar="SIZE", help="vm.min_free_kbytes."),
    click.option("--watermark-scale", type=int, metavar="N", help="vm.watermark_scale_factor, 1 to 3000."),
    click.option("--free", metavar="SIZE", help="Free RAM when the first suite starts; the rest is taken away."),
    click.option("--accel", default="auto", show_default=True, type=click.Choice([word.value for word in Accel])),
    click.option("--append", "cmdline", multiple=True, metavar="WORD", help="A further kernel argument."),
)


def machine_options(command: Callable[..., None]) -> Callable[..., None]:
    """Gives a command the options, and makes of them its argument `machine`."""

    @functools.wraps(command)
    def with_machine(
        *,
        ram: str,
        swap: str,
        cpus: int,
        memory_max: str | None,
        memory_high: str | None,
        swappiness: int | None,
        min_free: str | None,
        watermark_scale: int | None,
        free: str | None,
        accel: str,
        cmdline: tuple[str, ...],
        **rest: object,
    ) -> None:
        machine = Machine(
            ram=parse_size(ram, "--ram"),
            swap=Swap.parse(swap),
            cpus=cpus,
            accel=Accel(accel),
            cmdline=_words(cmdline),
            memory_max=_size(memory_max, "--memory-max"),
            memory_high=_size(memory_high, "--memory-high"),
            swappiness=swappiness,
            min_free=_size(min_free, "--min-free"),
            watermark_scale=watermark_scale,
            free=_size(free, "--free"),
        )
        command(machine=machine, **rest)

    decorated: Callable[..., None] = with_machine
    for option in reversed(_OPTIONS):
        decorated = option(decorated)
    return decorated


def _size(text: str | None, what: str) -> int | None:
    return None if text is None else parse_size(text, what)


def _words(cmdline: tuple[str, ...]) -> tuple[str, ...]:
    words = tuple(word for argument in cmdline for word in argument.split())
    for word in words:
        if not word.isprintable() or '"' in word or "'" in word:
            raise UserError(f"the kernel argument {word!r} has a quote or a control character in it")
    return words
