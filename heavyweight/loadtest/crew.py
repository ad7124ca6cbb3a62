"""The workers of Dask: started here or found at a scheduler, asked, given work, let go."""

from __future__ import annotations

import contextlib
import logging
import re
import signal
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

import dask
from distributed import Client, Future, LocalCluster
from distributed.comm.core import CommClosedError

from heavyweight import __version__
from heavyweight.errors import BadInput, StudyError
from heavyweight.load.address import is_loopback
from heavyweight.loadtest import clocks, worker

POLL_S = 0.25
FIND_S = 10.0  # for a scheduler to answer
ANSWER_S = 60.0  # for a worker
END_S = 15.0  # for the workers to stop their loads
FORM = "local:N with 1 to 64 workers, or the address of a scheduler such as tcp://127.0.0.1:8786"
_LOCAL = re.compile(r"local:(\d{1,4})")


class Crew:
    """Workers of Dask; use it inside ``with``.

    Args:
        address: ``local:N`` starts N workers here; ``tcp://host:port`` is a scheduler that runs.
        allow_remote: whether scheduler and workers may be on other machines.

    Raises:
        BadInput: no such address, or one on another machine without leave.
    """

    def __init__(self, address: str, allow_remote: bool = False) -> None:
        self.address, self.allow_remote = address, allow_remote
        local = _LOCAL.fullmatch(address)
        self._count = int(local[1]) if local else 0
        url = urlsplit(address)
        if local is None and (url.scheme != "tcp" or not url.hostname or not _port(address)):
            raise BadInput(f"{address!r} is no fleet", FORM, "mend --fleet")
        if local is not None and not 1 <= self._count <= 64:
            raise BadInput(f"a fleet of {self._count}", FORM, "mend --fleet")
        if local is None and not (allow_remote or is_loopback(url.hostname or "")):
            raise BadInput(
                f"the scheduler {url.hostname} is another machine", "a scheduler of this machine",
                "say --allow-remote if it is yours",
            )  # fmt: skip
        self._cluster: LocalCluster | None = None
        self._client: Client | None = None
        self.clock_names: dict[str, str] = {}
        self.start_s = 0.0  # that all load generators take to start at the same time

    def __enter__(self) -> Self:
        """Start or find the workers.

        Raises:
            StudyError: no worker answers, or one has another version of this package.
            BadInput: a worker is on another machine, without leave.
        """
        try:
            if self._count:
                self._cluster = _local_cluster(self._count)
            self._client = _connected(self._cluster or self.address)
            self._meet()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the workers; those that were started here end."""
        for one in (self._client, self._cluster):
            if one is not None:
                with contextlib.suppress(TimeoutError, OSError):
                    one.close(timeout=END_S)
        self._client = self._cluster = None

    @property
    def _scheduler(self) -> Client:
        assert self._client is not None, "a crew is used inside `with`"
        return self._client

    @property
    def addresses(self) -> list[str]:
        """The workers, in the order of their parts."""
        return list(self.clock_names)

    def _meet(self) -> None:
        """Ask all workers who they are."""
        addresses = sorted(self._scheduler.nthreads())
        if not addresses:
            raise StudyError(
                f"the scheduler at {self.address} has no workers", "at least one",
                f"start some: dask worker {self.address} --nthreads 1",
            )  # fmt: skip
        here = clocks.clock_name()
        for address in addresses:
            said = self.ask(address, worker.hello)
            if said["version"] != __version__:
                raise StudyError(
                    f"the worker at {address} has version {said['version']}",
                    f"{__version__}, as here",
                    "install the same version there",
                )
            if said["clock"] != here and not self.allow_remote:
                raise BadInput(
                    f"the worker at {address} is on another machine", "workers on this machine",
                    "say --allow-remote if it is yours",
                )  # fmt: skip
            self.clock_names[address] = said["clock"]
        topic = f"start-{uuid.uuid4().hex}"
        jobs = [(one, f"{topic}-{one}", worker.start, ()) for one in addresses]
        self.start_s = max(self.work(jobs, lambda: None))

    def ask(self, address: str, function: Callable[..., Any], *arguments: Any) -> Any:
        """Run something short on one worker.

        Raises:
            StudyError: it does not answer, or lacks this package.
        """
        future = self._submit(address, f"ask-{uuid.uuid4().hex}", function, *arguments)
        try:
            return future.result(timeout=ANSWER_S)
        except TimeoutError as error:
            raise StudyError(
                f"the worker at {address} did not answer for {ANSWER_S:.0f} s",
                "a worker at leisure",
                "see what it does, or use others",
            ) from error  # fmt: skip
        except ImportError as error:
            raise StudyError(
                f"the worker at {address} cannot import this package ({error})",
                f"heavyweight {__version__} on all workers",
                "install it there",
            ) from error
        finally:
            future.release()

    def _submit(
        self, address: str, key: str, function: Callable[..., Any], *arguments: Any
    ) -> Future[Any]:
        return self._scheduler.submit(
            function, *arguments, key=key, workers=[address], allow_other_workers=False, retries=0
        )

    def work(
        self, jobs: Sequence[tuple[str, str, Callable[..., Any], tuple[Any, ...]]],
        between: Callable[[], None],
    ) -> list[Any]:  # fmt: skip
        """Run long jobs at the same time, each on its worker.

        Args:
            jobs: (address, key, function, arguments).
            between: called a few times a second meanwhile.

        Returns:
            The results, in the order of the jobs.

        Raises:
            StudyError: a worker died; else what the first job that failed raised. The other jobs
                are cancelled, and have ended.
        """
        addresses = {address for address, *_ in jobs}
        futures: list[Future[Any]] = []
        try:
            futures += [self._submit(a, key, work, *given) for a, key, work, given in jobs]
            while not all(future.done() for future in futures):
                for future in futures:
                    if future.status == "error":
                        future.result()
                if lost := addresses - set(self._scheduler.nthreads()):
                    raise StudyError(
                        f"the worker at {min(lost)} died while the load ran; nothing is merged",
                        "workers that live to the end of the load",
                        "see whether memory ran out; call again",
                    )
                between()
                time.sleep(POLL_S)
            return [future.result() for future in futures]
        finally:
            self._end(futures)

    def _end(self, futures: list[Future[Any]]) -> None:
        """Cancel what still runs, and wait until it has ended."""
        keys = [future.key for future in futures if not future.done()]
        with contextlib.suppress(TimeoutError, OSError, CommClosedError):
            if keys:
                self._scheduler.cancel(futures, force=True)
            deadline = time.monotonic() + END_S
            while keys and time.monotonic() < deadline:
                if not any(self._scheduler.run(worker.at_work, keys).values()):
                    break
                time.sleep(POLL_S)
        for future in futures:
            future.release()

    @contextlib.contextmanager
    def listening(self, topic: str, heard: Callable[[dict[str, Any]], None]) -> Iterator[None]:
        """While inside, what workers log under a topic is handed on, in another thread."""
        self._scheduler.subscribe_topic(topic, lambda event: heard(event[1]))
        try:
            yield
        finally:
            with contextlib.suppress(ValueError, OSError, CommClosedError):
                self._scheduler.unsubscribe_topic(topic)


def _port(address: str) -> int | None:
    try:
        return urlsplit(address).port
    except ValueError:
        return None


def _local_cluster(count: int) -> LocalCluster:
    """Workers in processes of their own, reached on the loopback only, without a dashboard."""
    quiet = {
        "distributed.worker.profile.enabled": False,
        "distributed.comm.timeouts.connect": "30s",
    }
    with dask.config.set(quiet), _no_ctrl_c_below():
        return LocalCluster(
            n_workers=count,
            threads_per_worker=1,
            processes=True,
            host="127.0.0.1",
            dashboard_address="127.0.0.1:0",  # nothing is served there; None means all of :8787
            scheduler_kwargs={"dashboard": False},
            memory_limit=0,
            silence_logs=logging.CRITICAL,
        )


@contextlib.contextmanager
def _no_ctrl_c_below() -> Iterator[None]:
    """Processes that are started inside never see a Ctrl-C: this one stops them, in order.

    To ignore a signal is inherited; a mask would be undone by :mod:`multiprocessing`.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _connected(where: LocalCluster | str) -> Client:
    try:
        return Client(where, timeout=FIND_S, set_as_default=False)
    except (OSError, TimeoutError) as error:
        raise StudyError(
            f"no scheduler answers at {where}",
            "a scheduler of Dask that runs",
            "start one: dask scheduler --host 127.0.0.1",
        ) from error
