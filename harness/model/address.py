# SPDX-License-Identifier: GPL-2.0-only
"""A test machine as the user names it."""

from __future__ import annotations

import re
from dataclasses import dataclass

from harness.model.errors import UserError

ADDRESS_FORM = "ssh:USER@HOST[:PORT][/DIRECTORY]"
PLACE = "/var/lib/ttm-harness"
_PORT = 22
_FORM = re.compile(
    r"ssh:(?P<user>[A-Za-z_][A-Za-z0-9_.-]{0,63})@"
    r"(?P<host>\[[0-9A-Fa-f:.]{2,45}(?:%[A-Za-z0-9]{1,15})?\]|[A-Za-z0-9][A-Za-z0-9.-]{0,252})"
    r"(?::(?P<port>[0-9]{1,5}))?(?P<place>/[A-Za-z0-9._/-]{1,200})?",
    re.ASCII,
)


@dataclass(frozen=True, slots=True)
class SshAddress:
    """Who is logged in as, where, and the directory there that is the harness's own: `place`, an absolute path in
    plain characters.
    """

    user: str
    host: str
    port: int = _PORT
    place: str = PLACE

    @classmethod
    def parse(cls, text: str) -> SshAddress:
        """Read `--machine`; UserError on anything that is not of ADDRESS_FORM."""
        match = _FORM.fullmatch(text)
        if match is None:
            raise _bad(text, "is no address of a test machine")
        port = int(match["port"] or _PORT)
        if not 0 < port < 1 << 16:
            raise _bad(text, f"has {port} for a port")
        words = (match["place"] or PLACE).strip("/").split("/")
        if len(words) < 2 or any(word in ("", ".", "..") for word in words):
            raise _bad(
                text, "has no directory of its own: give an absolute path of two names or more, without . or .."
            )
        return cls(match["user"], match["host"].strip("[]"), port, "/" + "/".join(words))

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        port = "" if self.port == _PORT else f":{self.port}"
        return f"ssh:{self.user}@{host}{port}{'' if self.place == PLACE else self.place}"

    @property
    def spoken(self) -> str:
        """As people say it, and as ssh is told."""
        return f"{self.user}@{self.host}" + ("" if self.port == _PORT else f", port {self.port}")


def _bad(text: str, why: str) -> UserError:
    return UserError(f"{text!r} {why}", hint=ADDRESS_FORM)
