"""One calibration: each load in each setting, once; what is finished is kept.

Client and server stamp on one clock, so that each stamp of the client is compared with what passed
at the socket; see :mod:`heavyweight.estimates.instrument` for what counts as an error.
"""

from __future__ import annotations

import functools
import os
import shutil
import tempfile
from collections.abc import Callable, Collection, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from heavyweight import calibrations, load, machine, store
from heavyweight.calibrations import SETTINGS, InstrumentFolder
from heavyweight.design import Calibration
from heavyweight.errors import StoreError
from heavyweight.identity import calibration_id
from heavyweight.instrument.processes import MODEL, busy_cores, emulator, own_cores
from heavyweight.load.spec import Api, Arrivals, LoadSpec
from heavyweight.records import Instrument, Setting
from heavyweight.servers.lock import SessionLock
from heavyweight.servers.process import SERVER_NICENESS

SATURATION_USERS = 64
SATURATION_TOKENS = 512
SATURATION_S = 2.0  # at most; its answers fill megabytes
MIN_REQUESTS = 5
WARMUP_S = 1.0  # of an open loop
SLOTS = 4096  # nobody waits in the server
ONE_CORE = "client and server cannot have a core each: this machine has but one"
SAME = ("api", "manner", "ttft_ms", "itl_ms", "output_tokens", "prompt_tokens", "seconds", "seed")

OnProgress = Callable[[str, int, dict[str, Any]], None]


@dataclass(frozen=True)
class Load:
    """One load in one setting; ``rate`` is that of an open loop."""

    setting: Setting
    users: int = 0
    rate: float | None = None


def cells_of(
    users: Collection[int], rates: Collection[float] = (), settings: Sequence[Setting] = SETTINGS
) -> list[Load]:
    """The loads that a calibration measures on this machine, in their order."""
    loads: list[Load] = []
    for setting in settings:
        if setting != "busy" and own_cores() is None:
            continue
        if setting == "saturation":
            loads.append(Load(setting, SATURATION_USERS))
        else:
            loads += [Load(setting, users=n) for n in sorted(users)]
            loads += [Load(setting, rate=rate) for rate in sorted(rates)]
    return loads


def calibrate(
    folder: Path,
    timing: Calibration,
    *,
    run: str,
    seed: int,
    users: Collection[int] = (),
    rates: Collection[float] = (),
    settings: Sequence[Setting] = SETTINGS,
    prompt_tokens: int = 64,
    api: Api = "chat",
    manner: str = "vllm",
    commit: tuple[str | None, bool | None] = (None, None),
    stop_path: Path | None = None,
    on_progress: OnProgress | None = None,
) -> Instrument:
    """Measure the client's error at some loads; what is there already is not measured again.

    Args:
        folder: of the calibration, made here; see :mod:`heavyweight.calibrations`.
        timing: of the emulated server, and how long each load is measured.
        run: name of the run.
        seed: of the study.
        users: loads of closed loops.
        rates: loads of open loops, in requests/s.
        settings: see ``records.Instrument.settings``; those that need two cores are left out on a
            machine that has one.
        prompt_tokens: length that the prompts aim at.
        api: route of the requests.
        manner: whose manner of streaming the server imitates: ollama or vllm.
        commit: the code's commit, and whether it has no changes.
        stop_path: the file by which a stop is asked for.
        on_progress: called a few times a second with the setting, the number of loads done, and
            what the load generator reports.

    Returns:
        The record, as it is written to instrument.json.

    Raises:
        SessionBusy: something else is measured on this machine.
        StoreError: the folder holds a calibration of another machine or with another timing.
        Stopped: what was finished is kept.
    """
    record = Instrument(
        run=run,
        created_utc=_now(),
        commit=commit[0],
        clean=commit[1],
        seed=seed,
        api=api,
        manner=manner,
        ttft_ms=timing.ttft_ms,
        itl_ms=timing.itl_ms,
        output_tokens=timing.output_tokens,
        prompt_tokens=prompt_tokens,
        seconds=timing.seconds,
        users=sorted(users),
        rates_per_s=sorted(rates),
        settings=[s for s in settings if s == "busy" or own_cores()],
        left_out={s: ONE_CORE for s in settings if s != "busy" and not own_cores()},
        saturation_users=SATURATION_USERS,
        saturation_output_tokens=SATURATION_TOKENS,
        client_cores=[(own_cores() or machine.usable_cores())[0]],
        server_cores=[(own_cores() or machine.usable_cores())[-1]],
        busy_threads=len(machine.usable_cores()),
        busy_niceness=SERVER_NICENESS,
        machine=machine.describe(),
    )
    place = InstrumentFolder(folder)
    if place.exists:
        record = _joined(place.record, record)
    folder.mkdir(parents=True, exist_ok=True)
    loads = cells_of(record.users, record.rates_per_s, record.settings)
    with SessionLock() as lock:
        store.write_json(folder / calibrations.INSTRUMENT_FILE, record)
        for left_over in folder.glob(".measuring-*"):
            shutil.rmtree(left_over)
        finished = {(pair.setting, pair.client.cell.cell_id) for pair in place.pairs()}
        for done, one in enumerate(loads):
            if (one.setting, _cell_id(record, one)) not in finished:
                told = on_progress and functools.partial(on_progress, one.setting, done)
                _measure(folder, record, one, lock, stop_path, told)
        record = record.model_copy(update={"complete": True, "finished_utc": _now()})
        store.write_json(folder / calibrations.INSTRUMENT_FILE, record)
    return record


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _joined(left: Instrument, now: Instrument) -> Instrument:
    """The record of a calibration that goes on, perhaps with more loads."""
    if left.machine.machine_id != now.machine.machine_id:
        raise StoreError("the calibration was begun on another machine", "", "choose another run")
    for name in SAME:
        if getattr(left, name) != getattr(now, name):
            raise StoreError(
                f"the calibration was begun with {name} = {getattr(left, name)}",
                f"the same, not {getattr(now, name)}",
                "choose another run",
            )
    return left.model_copy(
        update={
            "users": sorted({*left.users, *now.users}),
            "rates_per_s": sorted({*left.rates_per_s, *now.rates_per_s}),
            "settings": [s for s in SETTINGS if s in {*left.settings, *now.settings}],
            "left_out": left.left_out | now.left_out,
            "complete": False,
        }
    )


def _cell_id(record: Instrument, one: Load) -> str:
    return calibration_id(
        setting=one.setting, users=one.users, rate=one.rate,
        **{name: getattr(record, name) for name in SAME},
    )  # fmt: skip


def _measure(
    folder: Path,
    record: Instrument,
    one: Load,
    lock: SessionLock,
    stop_path: Path | None,
    on_progress: Callable[[dict[str, Any]], None] | None,
) -> None:
    """One load: the log is put in its place first, the requests last."""
    saturated, everywhere = one.setting == "saturation", machine.usable_cores()
    busy = one.setting == "busy"
    with (
        tempfile.TemporaryDirectory(dir=folder, prefix=".measuring-") as name,
        ExitStack() as stack,
    ):
        temporary = Path(name)
        url, pgid = stack.enter_context(
            emulator(
                temporary,
                manner=record.manner,
                ttft_ms=0.0 if saturated else record.ttft_ms,
                itl_ms=0.0 if saturated else record.itl_ms,
                slots=SLOTS,
                cores=everywhere if busy else record.server_cores,
                on_start=lock.record_server,
            )
        )
        if busy:
            stack.enter_context(busy_cores(temporary, record.busy_threads, everywhere))
        spec = _spec(record, one, url, temporary, pgid, stop_path)
        if not busy:
            spec = spec.model_copy(update={"cores": record.client_cores})
        written = load.measure(spec, on_progress)
        stack.close()  # the log is whole when the server has ended
        place = folder / one.setting / written.name
        place.parent.mkdir(exist_ok=True)
        table = calibrations.read_log(temporary / "server.jsonl")
        calibrations.write_log(calibrations.log_path(place), table)
        os.replace(written, place)


def _spec(
    record: Instrument, one: Load, url: str, folder: Path, pgid: int, stop_path: Path | None
) -> LoadSpec:
    """What the load generator is told."""
    saturated = one.setting == "saturation"
    seconds = min(record.seconds, SATURATION_S) if saturated else record.seconds
    arrivals = None
    if one.rate is not None:
        arrivals = Arrivals(
            process="poisson", rate_per_s=one.rate, seconds=seconds + WARMUP_S, warmup_s=WARMUP_S
        )
    return LoadSpec(
        cell={
            "cell_id": _cell_id(record, one),
            "run": record.run,
            "session": f"{calibrations.FOLDER}/{one.setting}",
            "arm": calibrations.FOLDER,
            "server": "emulated",
            "model": MODEL,
            "emulated": True,
        },
        base_url=url,
        api=record.api,
        model=MODEL,
        users=one.users,
        arrivals=arrivals,
        seed=record.seed,
        block=1,
        output_tokens=record.saturation_output_tokens if saturated else record.output_tokens,
        prompt_tokens=record.prompt_tokens,
        min_requests=MIN_REQUESTS,
        min_waves=1,
        min_seconds=seconds,
        cap_seconds=3 * seconds + 60,
        server_pgid=pgid,
        out_dir=folder,
        stop_path=stop_path,
    )
