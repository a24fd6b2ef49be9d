"""A plan as tables on the terminal, and as JSON."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, replace
from functools import reduce
from itertools import groupby
from typing import Any

import typer

from dasd_assets.cli.terminal_table import print_table
from dasd_assets.plan.asset_plan import AssetPlan
from dasd_assets.plan.fitting import Way
from dasd_assets.plan.flops import TokenFlops
from dasd_assets.plan.layout import gpus_of_pools
from dasd_assets.plan.pipeline import Plan
from dasd_assets.plan.quantities import Quantity
from resources.compute.declared import GIB

FORMULA = """
FLOP of a token = passes x (2 x parameters + 4 x layers x heads x head width x context)
"""
FLOPS_HEADERS = ("GFLOP of a token", "context", "passes", "parameters", "attention", "together")
LEAST_WIDTH = 132
HEADERS = (
    "asset", "part", "runs", "requests", "rows", "tokens", "GPU-hours", "time", "a run", "money",
    "disk",
)  # fmt: skip


def as_dict(made: Plan) -> dict[str, Any]:
    """The plan as `--json` gives it."""
    totals = {
        name: getattr(made, name)
        for name in ("requests", "tokens", "gpu_hours", "hours", "money", "disk_bytes", "n_files")
    }
    assets = [
        {**asdict(asset), "gpu_hours": asset.gpu_hours,
         "hours_per_partition": asset.hours_per_partition}
        for asset in made.assets
    ]  # fmt: skip
    return {
        "profile": made.profile,
        "questions": sum(made.questions.values()),
        "questions_by_domain": dict(made.questions),
        "question_shards": made.n_shards,
        "questions_per_shard": made.fitting_shard,
        "restart_bytes": made.restart_bytes,
        "totals": totals,
        "assets": assets,
        "layout": [asdict(placement) for placement in made.layout],
        "gpus_of_pools": gpus_of_pools(made.layout),
        "ways_to_train": [asdict(way) for way in made.ways],
        "flops": [{**asdict(flops), "total": flops.total} for flops in made.flops],
        "quantities": [asdict(quantity) for quantity in made.quantities],
        "findings": [asdict(finding) for finding in made.findings],
    }


def print_plan(made: Plan) -> None:
    """The plan as tables: assets, quantities, what speaks against it."""
    domains = ", ".join(f"{n:,} of {domain}" for domain, n in made.questions.items() if domain)
    typer.echo(
        f"{made.profile}: {sum(made.questions.values()):,} questions in {made.n_shards:,} "
        f"question_shard(s){f': {domains}' if domains else ''}\n"
    )
    rows: list[tuple[str | None, ...]] = [_line(asset) for asset in by_line(made.assets)]
    rows.append(("restart points", *("",) * 9, _size(made.restart_bytes)))
    rows.append(
        (
            *("all", "", "", _count(made.requests), "", _count(made.tokens)),
            *(_gpu_hours(made.gpu_hours), _time(made.hours), "", _money(made.money)),
            _size(made.disk_bytes),
        )
    )
    print_table(HEADERS, rows, left=(0, 1), least=LEAST_WIDTH)
    typer.echo("\nOn the declared GPUs\n")
    print_table(
        ("work", "GPUs", "pool", "what is started"),
        [(one.work, str(one.gpus), one.pool or "", one.how) for one in made.layout],
        left=(0, 2, 3),
        folded=(3,),
    )
    if turns := _turns(made):
        typer.echo(f"\n{turns}")
    if made.ways:
        typer.echo("\nWhat a training step needs, by formula, on how few of these GPUs\n")
        print_table(
            ("training", "way", "GPUs", "GiB a GPU", "of"),
            [_way_line(way) for way in made.ways],
            left=(0, 1),
        )
    if made.flops:
        typer.echo(FORMULA)
        print_table(FLOPS_HEADERS, flops_lines(made.flops))
    typer.echo("\nReckoned with\n")
    print_table(
        ("quantity", "value", "unit", "from"),
        quantity_lines(made.quantities),
        left=(0, 2, 3),
        folded=(0, 3),
    )
    if made.findings:
        typer.echo()
    colours = {"problem": typer.colors.RED, "warning": typer.colors.YELLOW, "hint": None}
    for finding in made.findings:
        typer.secho(f"{finding.level}: {finding.about}: {finding.text}", fg=colours[finding.level])


def _way_line(way: Way) -> tuple[str | None, ...]:
    needed = None if way.n_bytes is None else f"{way.n_bytes / GIB:,.1f}"
    gpus = None if way.gpus is None else str(way.gpus)
    return way.training, way.way, gpus, needed, f"{way.gpu_memory_gib:g}"


def _turns(made: Plan) -> str:
    """What waits for what on the fewest GPUs that hold each step, and how long it then takes."""
    pools = gpus_of_pools(made.layout)
    least = max(pools.values(), default=0)
    if least == 0 or made.gpu_hours is None or made.hours is None:
        return ""
    if len(pools) == 1:
        return f"All steps take turns in the pool {next(iter(pools))}: {_time(made.hours)}."
    held = ", ".join(f"{name} {gpus}" for name, gpus in pools.items())
    return (
        f"Side by side the pools hold {sum(pools.values())} GPUs ({held}). On fewer they take "
        f"turns: {least} GPUs, the fewest that hold each step, are busy for "
        f"{_time(made.gpu_hours / least)} at the least, {_time(made.hours)} with one step at a "
        "time."
    )


def _line(asset: AssetPlan) -> tuple[str | None, ...]:
    return (
        *(asset.asset, asset.part, f"{asset.partitions:,}", _count(asset.requests)),
        *(f"{asset.rows:,}", _count(asset.tokens)),
        _gpu_hours(asset.gpu_hours) if asset.gpus else "",
        *(_time(asset.hours), _time(asset.hours_per_partition), _money(asset.money)),
        _size(asset.disk_bytes),
    )


def quantity_lines(quantities: list[Quantity]) -> Iterator[tuple[str, str | None, str, str]]:
    """Name, value, unit and source of each; what every part measured itself, as a range."""

    def line(one: Quantity) -> tuple[str, str, str]:
        name, _, part = one.name.partition(" (")
        return (f"{name}, each" if part.count(" ") else one.name), one.unit, one.source

    for (name, unit, source), group in groupby(sorted(quantities, key=line), line):
        values = sorted(quantity.value for quantity in group if quantity.value is not None)
        shown = [f"{value:,.6g}" for value in values[:: max(1, len(values) - 1)]]
        yield name, " to ".join(dict.fromkeys(shown)) or None, unit, source


def flops_lines(flops: list[TokenFlops]) -> Iterator[tuple[str, ...]]:
    """A line of each work; evaluations whose tokens are alike are one."""
    alike = {(one.work.split("/")[0], one.total): one for one in flops}
    for (work, total), one in alike.items():
        giga = (f"{value / 1e9:,.1f}" for value in (one.parameters, one.attention, total))
        yield work, f"{one.context:,.0f}", str(one.passes), *giga


def by_line(assets: list[AssetPlan]) -> Iterator[AssetPlan]:
    """The assets with their evaluation sets added up; temperatures stay apart."""

    def line(asset: AssetPlan) -> tuple[str, str]:
        is_set = asset.asset.startswith(("evaluation", "benchmark_questions"))
        return (asset.asset, "" if is_set else asset.part)

    for (name, part), group in groupby(assets, line):
        first, *others = group
        yield reduce(AssetPlan.__add__, others, replace(first, asset=name, part=part))


def _count(value: float) -> str:
    if not value:
        return ""
    return f"{value / 1e6:,.1f}M" if value >= 10e6 else f"{value:,.0f}"


def _gpu_hours(value: float | None) -> str | None:
    return None if value is None else f"{value:,.1f}" if value else ""


def _time(hours: float | None) -> str | None:
    if hours is None:
        return None
    if hours < 1 / 60:
        return f"{hours * 3600:.1f} s"
    return f"{hours * 60:.1f} min" if hours < 1 else f"{hours:,.1f} h"


def _money(value: float | None) -> str | None:
    return None if value is None else f"{value:,.0f}" if value else ""


def _size(n_bytes: float) -> str:
    for unit, size in {"GiB": GIB, "MiB": 1024**2}.items():
        if n_bytes >= size:
            return f"{n_bytes / size:,.1f} {unit}"
    return f"{n_bytes / 1024:.1f} KiB"
