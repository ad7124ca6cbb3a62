"""heavyweight load: a load of one's own on any server that runs."""

from __future__ import annotations

import contextlib
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from heavyweight.cli.output import AsJson, emit, errors, say
from heavyweight.errors import BadInput

SEARCH_TIMEOUT_S = 60.0  # a probe far above what a server can do must come to an end
SEARCH_S = 20.0
PROBES = 30


def load(
    url: Annotated[str, typer.Argument(help="Of the server, with or without /v1.")],
    api: Annotated[
        str, typer.Option(help="chat, completions, ollama-chat or ollama-generate.")
    ] = "chat",
    model: Annotated[str | None, typer.Option(help="Empty: the only one it serves.")] = None,
    users: Annotated[
        str | None, typer.Option(help="Closed loop: how many; LOW:HIGH in a search.")
    ] = None,
    rate: Annotated[
        str | None, typer.Option(help="Open loop: requests/s; LOW:HIGH in a search.")
    ] = None,
    arrivals: Annotated[
        str | None, typer.Option(help="With --rate: poisson (default), constant or gamma.")
    ] = None,
    cv: Annotated[
        float | None, typer.Option(help="Gamma: coefficient of variation of the gaps (2).")
    ] = None,
    trace: Annotated[
        Path | None, typer.Option(help="Open loop: file of arrival times in s, one a line.")
    ] = None,
    requests: Annotated[
        int | None,
        typer.Option(min=1, help="Closed: least in the window. Open: most, warm-up included."),
    ] = None,
    seconds: Annotated[
        float | None, typer.Option(help="Length of the window; at least so long if closed (20).")
    ] = None,
    warmup_seconds: Annotated[
        float | None, typer.Option(help="Open loop: before the window (5).")
    ] = None,
    prompt_tokens: Annotated[int, typer.Option(min=1, help="Of each request, about.")] = 64,
    output_tokens: Annotated[int, typer.Option(min=1, help="Asked of each request.")] = 64,
    seed: Annotated[int, typer.Option(min=0, help="Of prompts and arrivals.")] = 1,
    extra_body: Annotated[
        str | None, typer.Option(help="More fields in JSON, '{\"ignore_eos\": true}'.")
    ] = None,
    header: Annotated[
        list[str] | None,
        typer.Option(help="'K: V', never stored; a key by its variable: 'X-Api-Key: $MY_KEY'."),
    ] = None,
    timeout_first: Annotated[
        float | None, typer.Option(help="Seconds to the first byte of an answer (600).")
    ] = None,
    timeout_gap: Annotated[
        float | None, typer.Option(help="Seconds between two reads (120).")
    ] = None,
    timeout_total: Annotated[
        float | None, typer.Option(help="Seconds to the end of an answer (900; search: 60).")
    ] = None,
    search: Annotated[
        list[str] | None,
        typer.Option(help='What must hold: "ttft_p99_ms<=500", "error_fraction<=0.01" (repeat).'),
    ] = None,
    search_seconds: Annotated[
        float | None, typer.Option(help="Length of each probe's window (20).")
    ] = None,
    search_probes: Annotated[
        int | None, typer.Option(min=1, max=200, help="Most probes (30).")
    ] = None,
    fleet: Annotated[
        str | None, typer.Option(help="local:N processes, or tcp://host:port of a Dask scheduler.")
    ] = None,
    calibrate: Annotated[
        bool, typer.Option(help="Measure the client's own error at this load, after it.")
    ] = True,
    allow_remote: Annotated[
        bool,
        typer.Option(help="Let the load go to another host; its rate and bound are told first."),
    ] = False,
    out: Annotated[
        Path | None, typer.Option(help="A new folder; empty: data/loads/MODEL-N.")
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Exit code 1 if INVALID, or if no load holds.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Put a load on a server that runs, and say what it did, how surely, and whether to believe it.

    The URL may be of this machine only, unless --allow-remote is said.
    """
    from heavyweight.cli.load_display import (
        LoadDisplay,
        print_load,
        print_search,
        probe_in_words,
    )
    from heavyweight.design import load_study
    from heavyweight.loadtest import plan, running, target
    from heavyweight.loadtest.objective import Objective
    from heavyweight.loadtest.search import Range
    from heavyweight.paths import study_root

    objectives = [Objective.parse(text) for text in search or ()]
    if not objectives and (search_seconds is not None or search_probes is not None):
        raise BadInput("--search-seconds and --search-probes belong to a search", "--search", "")
    kind = _kind(users, rate, trace, arrivals, cv, warmup_seconds)
    at, ends = _loads(users or rate, whole=users is not None, searching=bool(objectives))
    if objectives and kind == "trace":
        raise BadInput("a trace has one load only", "--users LOW:HIGH or --rate LOW:HIGH", "")
    slowest_ms = max((one.limit if one.quantity else 1.0 for one in objectives), default=0.0)
    asked = plan.Load(
        arrivals=kind,
        cv=cv or 2.0,
        trace=trace,
        requests=requests,
        seconds=_positive("--seconds", seconds)
        or _positive("--search-seconds", search_seconds)
        or (SEARCH_S if objectives and requests is None else None),
        warmup_s=warmup_seconds,
        prompt_tokens=prompt_tokens,
        output_tokens=output_tokens,
        seed=seed,
        extra_body=plan.extra_body_of(extra_body),
        timeouts=_timeouts(timeout_first, timeout_gap, timeout_total, slowest_ms),
        allow_remote=allow_remote,
    )
    root = study_root()
    limits = load_study(root / "study.toml").limits
    crew = None
    if fleet:
        from heavyweight.loadtest.crew import Crew

        crew = Crew(fleet, allow_remote)
    found = target.find(url, api, model, plan.headers_of(header or []), allow_remote)
    name = re.sub(r"[^A-Za-z0-9.]+", "-", found.public_model).strip("-.") or "model"
    folder = out or running.new_folder(root / "data" / "loads", name)
    test = running.LoadTest(found, asked, folder, limits, crew, calibrate)
    with contextlib.ExitStack() as stack:
        stack.callback(test.discard)
        if crew is not None:
            stack.enter_context(crew)
        display = stack.enter_context(LoadDisplay(errors))
        probes = (search_probes or PROBES) if objectives else 1
        _tell_bound(found, asked.spec(found, folder, ends[1] or at), probes, display.say)
        if objectives:
            display.say(
                f"Searching {ends[0]:g} to {ends[1]:g} {'users' if users else 'requests/s'}"
            )
            result = test.search(
                objectives,
                Range(*ends, users is not None, most_probes=probes),
                display.update,
                lambda at, said: display.say(probe_in_words(at, said)),
            )
        else:
            display.what = f"{users} users" if users else f"{rate}/s" if rate else "trace"
            result = test.measure(at, display.update)
    written = test.write(result)
    errors.print(f"The raw data: {say(folder)}", markup=False)
    if as_json:
        emit(written)
    elif objectives:
        print_search(result)
    else:
        print_load(result)
    good = result["highest_that_holds"] is not None if objectives else result["valid"]
    if check and not good:
        raise typer.Exit(1)


def _tell_bound(found: Any, highest: Any, probes: int, say: Callable[[str], None]) -> None:
    """Before a load goes to another machine: its rate and its bound."""
    from heavyweight.load import bound

    if not found.here:
        say(bound.told(highest, probes))


def _kind(
    users: str | None, rate: str | None, trace: Path | None, arrivals: str | None,
    cv: float | None, warmup_seconds: float | None,
) -> str | None:  # fmt: skip
    """The process of the arrivals; None: a closed loop.

    Raises:
        BadInput: options that contradict each other.
    """
    given = [
        name for name, one in (("--users", users), ("--rate", rate), ("--trace", trace)) if one
    ]
    if len(given) != 1:
        raise BadInput(
            f"{' and '.join(given)} contradict each other" if given else "no load is named",
            "one of --users N (closed loop), --rate R (open loop) and --trace FILE (open loop)",
            "choose one",
        )
    if rate is None and arrivals is not None:
        raise BadInput(f"--arrivals with {given[0]}", "--arrivals with --rate", "leave it out")
    if users is not None and warmup_seconds is not None:
        raise BadInput(
            "--warmup-seconds with --users",
            "nothing: a closed loop waits for a wave of requests before its window",
            "leave it out",
        )
    if warmup_seconds is not None and not 0 <= warmup_seconds < math.inf:
        raise BadInput(f"--warmup-seconds {warmup_seconds:g}", "0 or more", "mend it")
    kind = "trace" if trace else None if users else arrivals or "poisson"
    if kind not in (None, "trace", "poisson", "constant", "gamma"):
        raise BadInput(f"--arrivals {kind}", "poisson, constant or gamma", "choose one")
    if cv is not None and kind != "gamma":
        raise BadInput("--cv without gamma arrivals", "--arrivals gamma --cv 2", "leave it out")
    if cv is not None:
        _positive("--cv", cv)
    return kind


def _loads(
    text: str | None, *, whole: bool, searching: bool
) -> tuple[float | None, tuple[float, float]]:
    """One load, or the ends of what is searched.

    Raises:
        BadInput: no number, no range, or one where the other belongs.
    """
    name = "--users" if whole else "--rate"
    if text is None:
        return None, (0.0, 0.0)
    low, colon, high = text.partition(":")
    ends = [_number(name, part, whole) for part in ([low, high] if colon else [low])]
    if searching and (len(ends) != 2 or ends[0] >= ends[1]):
        raise BadInput(
            f"{name} {text} in a search", f"{name} LOW:HIGH with LOW below HIGH", "mend it"
        )
    if not searching and len(ends) != 1:
        raise BadInput(
            f"{name} {text} without a search", "one load", 'say --search "..." to search'
        )
    return (None, (ends[0], ends[1])) if searching else (ends[0], (0.0, 0.0))


def _number(name: str, text: str, whole: bool) -> float:
    try:
        value = float(int(text)) if whole else float(text)
    except ValueError:
        value = math.nan
    most = 4095 if whole else 1e6
    if not 0 < value <= most:
        raise BadInput(
            f"{name} {text}", f"a {'whole ' * whole}number above 0, up to {most:g}", "mend it"
        )
    return value


def _positive(name: str, value: float | None) -> float | None:
    if value is not None and not 0 < value < math.inf:
        raise BadInput(f"{name} {value:g}", "a number above 0", "mend it")
    return value


def _timeouts(
    first_s: float | None, gap_s: float | None, total_s: float | None, slowest_ms: float
) -> Any:
    """The time-outs; in a search, whose slowest objective has a limit, shorter ones."""
    from heavyweight.load.spec import Timeouts

    given = {
        "first_s": _positive("--timeout-first", first_s),
        "gap_s": _positive("--timeout-gap", gap_s),
        "total_s": _positive("--timeout-total", total_s),
    }
    if slowest_ms:
        given["total_s"] = given["total_s"] or max(SEARCH_TIMEOUT_S, 3 * slowest_ms / 1e3)
    return Timeouts(**{name: value for name, value in given.items() if value is not None})
