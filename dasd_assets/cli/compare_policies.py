"""`dasd compare-policies`: what each selection policy would choose, before anything is trained."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dasd_assets.cli.exits import refusing
from dasd_assets.profile import Profile, ProfileError
from dasd_assets.profile.home import active_profile

if TYPE_CHECKING:
    from dasd_assets.divergence_sampling.compare import Choice, Comparison

LEAST_WIDTH = 120
COLUMNS = (
    "samples", "tokens", "tokens each", "Teacher Sentences", "Teacher %", "Common %", "Student %",
    "p_T", "p_S", "p_T/p_S",
)  # fmt: skip
PAGE = "policy_comparison.html"


class NotThereYetError(ValueError):
    """The pipeline has not made what the comparison needs."""


def compare_policies(
    temperature: Annotated[
        list[str] | None,
        typer.Option(help="Temperature partition; may be given more than once. Default: all."),
    ] = None,
    page: Annotated[
        Path | None, typer.Option(help=f"Where the page is written. Default: {PAGE} in the lake.")
    ] = None,
) -> None:
    """Print and plot what each selection policy would choose from the answers in the lake.

    Budget, answers per question, domain shares and length strata are the profile's; the policy
    that the profile names is marked with a star, and its two controls of the same token count stand
    below the policies. Nothing is trained, and no table is changed.
    """
    from dasd_assets.divergence_sampling.policy_page import render_policy_page
    from dasd_assets.profile.open_lake import open_lake
    from resources.lake.table import ContractError

    with refusing(ProfileError, ContractError, NotThereYetError, OSError):
        profile = active_profile()
        comparisons = _compared(profile, temperature or list(_temperatures(profile)))
        for comparison in comparisons:
            _print(comparison)
        html = render_policy_page(f"Selection policies: {profile.name}", comparisons)
        if page:
            page.write_text(html, encoding="utf-8")
        else:
            page = open_lake(profile).publish_file(PAGE, html.encode())
    typer.echo(f"\nplots: {page}")


def _temperatures(profile: Profile) -> dict[str, float]:
    return profile.teacher_responses.temperatures


def _compared(profile: Profile, temperatures: Sequence[str]) -> list[Comparison]:
    """Comparison of every temperature of which there is provenance; the others are reported.

    Raises:
        NotThereYetError: none of the temperatures has any.
    """
    import pyarrow as pa

    from dasd_assets.divergence_sampling.compare import compare_policies
    from dasd_assets.divergence_sampling.ready_shards import shards_to_draw_from
    from dasd_assets.profile.open_lake import open_lake

    unknown = sorted(set(temperatures) - set(_temperatures(profile)))
    if unknown:
        raise NotThereYetError(
            f"no temperature {', '.join(unknown)} in the profile {profile.name}; there are "
            f"{', '.join(_temperatures(profile))}"
        )
    lake = open_lake(profile)
    ready = [
        name for name in temperatures if lake.partitions("response_provenance", temperature=name)
    ]
    if not ready:
        raise NotThereYetError(
            f"{lake.root} has no provenance of the answers at the temperature "
            f"{' or '.join(temperatures)} yet. Run `dasd run`, or materialize the assets up to "
            "sentence_provenance in the UI, then compare again."
        )
    for name in sorted(set(temperatures) - set(ready)):
        typer.secho(f"{name}: no provenance yet, left out", fg=typer.colors.YELLOW, err=True)
    comparisons = []
    for name in ready:
        settings = profile.divergence_sampling
        shards = shards_to_draw_from(
            lake, name, settings.exclude_shards, settings.require_all_shards
        )
        for shard, why in shards.not_ready.items():
            typer.secho(f"{name}/{shard} {why}: left out", fg=typer.colors.YELLOW, err=True)
        responses = pa.concat_tables(
            lake.read_partitions("response_provenance", None, **shard) for shard in shards.ready
        )
        comparisons.append(compare_policies(responses, settings, name, profile.seed))
    return comparisons


def _print(comparison: Comparison) -> None:
    from rich.console import Console

    unit, budget = comparison.budget
    choices = comparison.described
    width = max(shutil.get_terminal_size().columns, LEAST_WIDTH)
    console = Console(width=width, highlight=False)
    console.print(
        f"\ntemperature {comparison.temperature}: {comparison.candidates.n_samples:,} candidates, "
        f"budget {budget:,} {unit}"
    )
    names = [
        f"{choice.policy}{' *' if choice.policy == comparison.configured else ''}"
        for choice in choices
    ]
    console.print(_table("Chosen", COLUMNS, list(zip(names, map(_cells, choices), strict=True))))
    domains = [
        (name, [f"{100 * share:.1f}" for share in choice.domain_shares.values()])
        for name, choice in zip(names, choices, strict=True)
    ]
    headers = [name.replace("_", " ") for name in comparison.candidates.domain_shares]
    console.print(_table("Domains (% of tokens)", headers, domains))
    numbers = [str(index + 1) for index in range(len(comparison.choices))]
    rows = [
        (f"{number} {choice.policy}", [f"{100 * value:.0f}" for value in shared])
        for number, choice, shared in zip(
            numbers, comparison.choices, comparison.overlap, strict=True
        )
    ]
    console.print(_table("Overlap (Jaccard, %)", numbers, rows))


def _cells(choice: Choice) -> list[str]:
    return [
        f"{choice.n_samples:,}", f"{choice.n_tokens:,}", f"{choice.mean_tokens:,.0f}",
        f"{choice.n_teacher_sentences:,}",
        *(f"{100 * share:.1f}" for share in choice.class_shares.values()),
        f"{choice.p_teacher:.3f}", f"{choice.p_student:.3f}", f"{choice.probability_ratio:.2f}",
    ]  # fmt: skip


def _table(title: str, headers: Sequence[str], rows: Sequence[tuple[str, Sequence[str]]]) -> Any:
    from rich import box
    from rich.table import Table

    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("policy", no_wrap=True)
    for header in headers:
        table.add_column(header, justify="right")
    for name, cells in rows:
        table.add_row(name, *cells)
    return table
