"""heavyweight study cost: what a million tokens cost at the measured speed."""

from __future__ import annotations

from typing import Annotated

import typer

from heavyweight.cli.output import AsJson, console, emit
from heavyweight.cli.price import GpuName, PricePerHour, price_of
from heavyweight.cli.runs import find_run
from heavyweight.errors import BadInput
from heavyweight.records import imported_from


def cost(
    run: Annotated[str, typer.Argument(help="A run's name or folder; empty: the newest.")] = "",
    price_per_hour: PricePerHour = None,
    gpu: GpuName = "",
    as_json: AsJson = False,
) -> None:
    """USD per million output tokens of each arm and load, with the interval of its throughput."""
    from heavyweight import tables
    from heavyweight.cli.tables import print_frame
    from heavyweight.estimates import assess, cost_table, plain_records

    folder = find_run(run)
    assessment = assess(folder)
    machines = {names for names in assessment.sessions["gpus"] if names}
    here = [name for names in machines for name in names.split(", ")] if len(machines) == 1 else []
    price = price_of(price_per_hour, gpu, max(1, len(here)), here)
    if price.usd_per_hour is None:
        raise BadInput(
            f"{assessment.run.run}: {price.source}", "what an hour of its machine costs",
            f"heavyweight study cost {folder.path.name} --price-per-hour 2.50",
        )  # fmt: skip
    table = cost_table(assessment, price.usd_per_hour)
    if as_json:
        emit({"run": assessment.run.run, "emulated": assessment.run.emulated,
              "usd_per_hour": price.usd_per_hour, "price_source": price.source,
              "costs": plain_records(table)})  # fmt: skip
        return
    shown = tables.cost(assessment, price.usd_per_hour).rename_axis(index="users")
    emulated = " EMULATED: says nothing of any server." if assessment.run.emulated else ""
    emulated += f" {imported_from(assessment.run.imported)}" * bool(assessment.run.imported)
    print_frame(shown, f"USD per million output tokens [95%].{emulated}")
    console.print(
        f"At {price.usd_per_hour:g} USD an hour ({price.source}), every hour under that load.",
        markup=False,
    )
