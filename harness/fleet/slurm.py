# SPDX-License-Identifier: GPL-2.0-only
"""`--on slurm:FILE`: workers as jobs of Slurm, by dask-jobqueue, for the time of a run. FILE is TOML:

jobs = 4                   # each is a worker
guests = 8                 # in each, at most
memory = "64G"             # of each
walltime = "08:00:00"
queue = "batch"            # and account, if there is one
directives = ["--constraint=kvm"]   # more lines for sbatch
python = "/opt/ttm/bin/python"      # on the nodes; else this one
store = "/scratch/ttm"     # TTM_HARNESS_STORE on the nodes
shared = "/home/me/.ttm"   # a directory that this host and the nodes have; TLS keys lie there meanwhile
interface = "ib0"          # of the network, where there are several
"""

from __future__ import annotations

import signal
import tempfile
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from distributed import Client, SpecCluster
from distributed.security import Security

from harness.fleet.join import security_of
from harness.model.errors import InfraError, UserError

PRELOAD = "harness.fleet.worker"
_LARGEST = 1 << 20
_CONNECT_SECONDS = 60


@dataclass(frozen=True, slots=True)
class SlurmJobs:
    """What the file says."""

    jobs: int
    guests: int
    memory: str
    shared: str
    walltime: str = "08:00:00"
    queue: str = ""
    account: str = ""
    directives: tuple[str, ...] = ()
    python: str = ""
    store: str = ""
    interface: str = ""

    def words(self) -> dict[str, Any]:
        """The arguments of dask-jobqueue's cluster."""
        store = [f"export TTM_HARNESS_STORE={self.store}"] if self.store else []
        return {
            "cores": self.guests,
            "processes": 1,
            "memory": self.memory,
            "walltime": self.walltime,
            "queue": self.queue or None,
            "account": self.account or None,
            "python": self.python or None,
            "interface": self.interface or None,
            "job_extra_directives": list(self.directives),
            "job_script_prologue": store,
            "worker_extra_args": ["--preload", PRELOAD, "--memory-limit", "0"],
            "protocol": "tls",
            "scheduler_options": {"dashboard_address": "127.0.0.1:0"},
        }


def read_jobs(path: Path) -> SlurmJobs:
    """UserError for a file that is not there, or not of that form."""
    try:
        with path.open("rb") as file:
            plain = tomllib.loads(file.read(_LARGEST).decode("utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UserError(f"the jobs of {path} cannot be read: {error}", hint="docs/fleet.md has one") from error
    kinds: dict[str, type] = {one.name: str for one in fields(SlurmJobs)}
    kinds.update(jobs=int, guests=int, directives=list)
    for name, value in plain.items():
        if name not in kinds or type(value) is not kinds[name] or "\n" in str(value):
            raise UserError(f"{path}: {name} = {value!r} is not what such a file has", hint="docs/fleet.md has one")
    missing = [name for name in ("jobs", "guests", "memory", "shared") if not plain.get(name)]
    if missing:
        raise UserError(f"{path} is without {', '.join(missing)}", hint="docs/fleet.md has such a file")
    return SlurmJobs(**{**plain, "directives": tuple(map(str, plain.get("directives", ())))})


def _security_in(directory: Path) -> Security:
    """TLS, its certificate and key in files that only the user can read; jobs find them there."""
    made = Security.temporary().get_tls_config_for_role("client")
    certificate, key = directory / "certificate", directory / "key"
    for path, text in ((certificate, made["ca_file"]), (key, made["key"])):
        path.touch(0o600)
        path.write_text(text)
    return security_of(str(certificate), str(key))


def _slurm_cluster() -> type[SpecCluster]:
    """dask-jobqueue's cluster. Its import takes Ctrl-C for itself, which is the harness's own matter."""
    before = signal.getsignal(signal.SIGINT)
    try:
        from dask_jobqueue import SLURMCluster
    except ModuleNotFoundError as error:
        raise UserError(
            "--on slurm: needs dask-jobqueue, which is not installed", hint="pip install dask-jobqueue"
        ) from error
    finally:
        signal.signal(signal.SIGINT, before)
    made: type[SpecCluster] = SLURMCluster
    return made


@contextmanager
def slurm_jobs(path: Path) -> Iterator[Client]:
    """A scheduler on this host, and the jobs that the file asks for, as long as the block lasts."""
    jobs = read_jobs(path)
    make = _slurm_cluster()
    try:
        keys = tempfile.TemporaryDirectory(prefix="harness-keys-", dir=jobs.shared, ignore_cleanup_errors=True)
    except OSError as error:
        raise UserError(f"{path}: shared = {jobs.shared!r} cannot be used: {error.strerror}") from error
    with keys:
        try:
            cluster = make(**jobs.words(), security=_security_in(Path(keys.name)))
            cluster.scale(jobs=jobs.jobs)
        except (OSError, RuntimeError, ValueError) as error:
            raise InfraError(f"no jobs can be had of Slurm: {error}") from error
        with cluster, Client(cluster, set_as_default=False, timeout=_CONNECT_SECONDS) as client:
            yield client
