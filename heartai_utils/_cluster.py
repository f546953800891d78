"""Worker processes for many pages or many runs, on this machine or on several, by ``dask.distributed``.

On this machine `client` starts them and they end with the caller. For several machines somebody starts a scheduler and
workers, all with the same version of this package, and hands the scheduler's address in::

    dask scheduler                                          # prints its address, such as tcp://10.0.0.5:8786
    dask worker tcp://10.0.0.5:8786 --nthreads 1 --nworkers auto --no-dashboard     # on each machine

There the workers' environment is theirs: OMP_NUM_THREADS=1 TF_NUM_INTRAOP_THREADS=1 TF_NUM_INTEROP_THREADS=1 keeps
each to its core, and MALLOC_TRIM_THRESHOLD_=134217728 MALLOC_MMAP_THRESHOLD_=33554432 has it keep memory for the next
page. Only use a scheduler in a network that you trust: whoever reaches it can run programs on its workers.
"""

from __future__ import annotations

import hashlib
import logging
import os
import platform
import signal
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import cv2
import dask
from distributed import CancelledError, Client, Future, LocalCluster, TimeoutError, wait
from distributed.client import ClosedClientError
from distributed.utils import silence_logging_cmgr

from heartai_utils import __version__

_ONE_THREAD = (
    "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS",
)  # fmt: skip
# dask makes glibc hand every freed array back to the system, which doubles the processor time of shrinking a page
_KEEP_MEMORY = {"MALLOC_TRIM_THRESHOLD_": "134217728", "MALLOC_MMAP_THRESHOLD_": "33554432"}
ENVIRONMENT = {**dict.fromkeys(_ONE_THREAD, "1"), **_KEEP_MEMORY}
_SET_BY_DASK = "PYTHONHASHSEED"  # in the caller's environment, for the workers to inherit
_PRELOAD = [__name__]  # modules whose `dask_setup` a worker started here calls first
_PATIENCE = 10  # seconds for a scheduler to answer, and for a first worker to be there
_MOMENT = "1s"  # between two looks at what is going on

Item = TypeVar("Item")


class ClusterError(ValueError):
    """Workers that cannot be used; the message says why and what to do."""


@contextmanager
def client(scheduler: str | None = None, workers: int | None = None) -> Iterator[Client]:
    """Start single-threaded worker processes on this machine, or connect to a scheduler that has some.

    Those started here listen on this machine alone, and end with the block or with the caller, even a killed one; a
    worker that dies is replaced. A script that uses them needs ``if __name__ == "__main__":``, as for all processes.

    Args:
        scheduler: the address of a scheduler, such as "tcp://10.0.0.5:8786"; None starts workers here.
        workers: how many to start, by default one a core.

    Raises:
        ClusterError: nobody answers at the address, no worker is there, one has several threads or another version of
            Python or of this package; a number of workers is given for a scheduler, which has its own, or is below 1;
            workers could not be started.
    """
    if workers is not None and (scheduler or workers < 1):
        raise ClusterError(f"workers={workers}: give 1 or more, and none with a scheduler, which has its own")
    with silence_logging_cmgr(logging.CRITICAL):
        if scheduler is None:
            with _local_cluster(workers or os.cpu_count() or 1) as cluster, _connected(cluster) as connection:
                yield connection
        else:
            with _connected(scheduler) as connection:
                _check_workers(connection, scheduler)
                yield connection


@contextmanager
def _local_cluster(workers: int) -> Iterator[LocalCluster]:
    # Workers inherit the environment of this process, as it must be there before they import anything.
    names = (*ENVIRONMENT, _SET_BY_DASK)
    before = {name: os.environ[name] for name in names if name in os.environ}
    os.environ.update(ENVIRONMENT)
    # dask would give up a place for good whose next worker takes longer to start than this
    patient = dask.config.set({"distributed.deploy.lost-worker-timeout": "365 days"})
    try:
        with patient:
            try:
                cluster = LocalCluster(
                    n_workers=workers, threads_per_worker=1, host="127.0.0.1", memory_limit=None, preload=_PRELOAD,
                    scheduler_kwargs={"dashboard": False, "dashboard_address": "127.0.0.1:0"}, dashboard_address=None,
                    silence_logs=logging.CRITICAL,
                )  # fmt: skip
            except (OSError, RuntimeError) as error:
                raise ClusterError(
                    f"{workers} workers could not be started ({error}): ask for fewer, "
                    'and call it in a script only below `if __name__ == "__main__":`'
                ) from error
            with cluster:
                yield cluster
    finally:
        for name in names:
            os.environ.pop(name, None)
        os.environ.update(before)


def dask_setup(_worker) -> None:
    """What a worker that was started here does first; dask calls it by this name."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the caller, who then ends the workers
    cv2.setNumThreads(1)


@contextmanager
def _connected(cluster: LocalCluster | str) -> Iterator[Client]:
    try:
        connection = Client(cluster, timeout=_PATIENCE, set_as_default=False)
    except ValueError as error:
        raise ClusterError(f"scheduler {cluster!r} is no address: write it as tcp://10.0.0.5:8786 ({error})") from error
    except (OSError, ImportError) as error:
        raise ClusterError(f"no scheduler answers at {cluster}: start one with `dask scheduler` ({error})") from error
    with connection:
        yield connection


def _check_workers(connection: Client, address: str) -> None:
    start = f"dask worker {address} --nthreads 1"
    try:
        connection.wait_for_workers(1, timeout=_PATIENCE)
    except TimeoutError:
        raise ClusterError(f"the scheduler at {address} has no worker: start some with `{start}`") from None
    for worker, threads in connection.nthreads().items():
        if threads != 1:
            raise ClusterError(f"the worker at {worker} has {threads} threads: start it with `{start}`")
    mine = versions()
    for worker, found in connection.run(versions, on_error="return").items():
        if isinstance(found, OSError):  # it was lost just now
            continue
        if isinstance(found, Exception):
            raise ClusterError(f"the worker at {worker} cannot use heartai_utils ({found}): install it there")
        differing = [
            f"{name} {found.get(name)} instead of {mine[name]}" for name in mine if found.get(name) != mine[name]
        ]
        if differing:
            raise ClusterError(
                f"the worker at {worker} has {', '.join(differing)}: install the same there, start it again"
            )


@lru_cache
def versions() -> dict[str, str]:
    """What must agree between machines: Python and this package, to the last line of its code."""
    sources = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        sources.update(path.read_bytes())
    python = ".".join(platform.python_version_tuple()[:2])
    return {"Python": python, "heartai_utils": f"{__version__} ({sources.hexdigest()[:8]})"}


def completed(
    connection: Client,
    function: Callable[[Item], Any],
    items: Iterable[Item],
    *,
    ahead: int = 1,
    meanwhile: Callable[[], None] = lambda: None,
) -> Iterator[tuple[Item, Any]]:
    """Call a function for each item on the workers; gives items with their results as they complete.

    Only as many calls are handed out as there are workers to do them, so there may be any number of items. A call whose
    worker is lost is made again by another one. What has not begun when the caller stops is not done.

    Args:
        connection: from `client`.
        function: of a module, so that workers can import it; an item and its result are sent over the network.
        items: what to call it with.
        ahead: calls that wait at each worker for their turn; above 0 where calls take less than seconds.
        meanwhile: called again and again, about once a second, while workers work.

    Yields:
        An item, and what the function returned for it or the exception that it raised; `distributed.KilledWorker` where
        several workers were lost that were on it.

    Raises:
        ClusterError: the scheduler is lost.
    """
    items = iter(items)
    given: dict[Future, Item] = {}
    try:
        while True:
            with _loss_told():
                room = (1 + ahead) * max(1, len(connection.nthreads())) - len(given)
            for item in islice(items, max(0, room)):
                with _loss_told():
                    given[connection.submit(function, item, pure=False)] = item
            if not given:
                return
            meanwhile()
            with _loss_told():
                done = _wait_a_moment(connection, list(given))
                results = [future.exception() if future.status == "error" else future.result() for future in done]
            yield from zip([given.pop(future) for future in done], results, strict=True)
    finally:
        if given and connection.status == "running":
            connection.cancel(list(given), force=True)


def _wait_a_moment(connection: Client, futures: list[Future]) -> list[Future]:
    with connection.as_current(), suppress(TimeoutError):
        wait(futures, timeout=_MOMENT, return_when="FIRST_COMPLETED")
    return [future for future in futures if future.done()]


@contextmanager
def _loss_told() -> Iterator[None]:
    try:
        yield
    except (OSError, RuntimeError, CancelledError, ClosedClientError) as error:
        reason = str(error).partition("\n")[0].rstrip(":")
        raise ClusterError(f"the scheduler is lost: the same call again goes on ({reason})") from error
