# SPDX-License-Identifier: GPL-2.0-only
"""Files over http(s): resumed where they broke off, with progress and a deadline; the caller checks the content."""

from __future__ import annotations

import http.client
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import IO

from harness.inputs.source_cache import Work, require_space
from harness.model.errors import DeadlineExceeded, InfraError
from harness.model.units import whole_number
from harness.store.files import explain_os_error

_CHUNK = 1 << 18
_SILENCE = 30.0  # seconds without a byte after which a connection is given up
_ATTEMPTS = 5
_PAUSE = 0.5


class NotThere(InfraError):
    """The server answers, and says that it has no such file."""


def fetch_text(url: str, work: Work) -> str:
    """A small file, whole."""
    text: list[str] = []

    def take(answer: http.client.HTTPResponse) -> bool:
        text.append(answer.read().decode("utf-8", "replace"))
        return True

    _with_retries(url, work, lambda: _open(url, work, 0, take))
    return text[-1]


def fetch_file(url: str, path: Path, work: Work) -> bool:
    """Downloads into `path`, going on where an earlier attempt stopped; True when it did go on."""
    resumed = path.exists() and path.stat().st_size > 0
    _with_retries(url, work, lambda: _go_on(url, path, work))
    return resumed


def _with_retries(url: str, work: Work, attempt: Callable[[], bool]) -> None:
    """`attempt` until it says that it is done; InfraError when it never is."""
    work.reach_out(url)
    why = "the connection broke off"
    for number in range(_ATTEMPTS):
        try:
            if attempt():
                return
        except NotThere:
            raise
        except urllib.error.HTTPError as error:
            why = f"the server answers {error.code} {error.reason}"
        except urllib.error.URLError as error:
            why = str(error.reason)
        except (http.client.HTTPException, TimeoutError, ConnectionError) as error:
            why = str(error) or type(error).__name__
        if work.deadline.passed:
            raise DeadlineExceeded(f"downloading {url}", work.deadline.seconds)
        if number + 1 < _ATTEMPTS:
            time.sleep(min(_PAUSE * 2**number, work.deadline.left))
    raise InfraError(f"cannot download {url}: {why}", hint="look at the network and the proxy, then try again")


def _open(url: str, work: Work, offset: int, take: Callable[[http.client.HTTPResponse], bool]) -> bool:
    headers = {"User-Agent": "ttm-harness", "Accept-Encoding": "identity"}
    if offset:
        headers["Range"] = f"bytes={offset}-"
    try:
        request = urllib.request.Request(url, headers=headers)
    except ValueError as error:
        raise InfraError(f"{url} is not an address: {error}", hint="look at TTM_HARNESS_KERNEL_ORG") from error
    timeout = max(0.1, min(_SILENCE, work.deadline.left))
    try:
        with urllib.request.urlopen(request, timeout=timeout) as answer:
            return take(answer)
    except urllib.error.HTTPError as error:
        if error.code in (404, 410):
            raise NotThere(
                f"{url} does not exist ({error.code})", hint="look at the version and the address"
            ) from error
        raise


def _go_on(url: str, path: Path, work: Work) -> bool:
    """One connection's worth; True when the file is as long as the server says."""
    offset = path.stat().st_size if path.exists() else 0

    def take(answer: http.client.HTTPResponse) -> bool:
        goes_on = answer.status == 206
        begin = offset if goes_on else 0
        length = answer.headers.get("Content-Length", "")
        total = begin + whole_number(length) if whole_number(length) else 0
        require_space(path.parent, total - begin, f"downloading {path.name}")
        try:
            with path.open("ab" if goes_on else "wb") as file:
                done = _copy(answer, file, begin, total, work)
        except (TimeoutError, ConnectionError):
            raise
        except OSError as error:
            raise explain_os_error(error, f"cannot write {path}") from error
        return not total or done == total

    try:
        return _open(url, work, offset, take)
    except urllib.error.HTTPError as error:
        if error.code == 416:
            # Nothing lies beyond what is here: the file is whole or another one, and the checksum tells which.
            return True
        raise


def _copy(answer: http.client.HTTPResponse, file: IO[bytes], done: int, total: int, work: Work) -> int:
    while chunk := answer.read1(_CHUNK):
        file.write(chunk)
        done += len(chunk)
        work.progress.advance(done, total, "B")
        if work.deadline.passed:
            raise DeadlineExceeded("the download", work.deadline.seconds)
    return done
