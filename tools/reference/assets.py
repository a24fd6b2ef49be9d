"""The page of all assets."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import dagster as dg

from dasd_assets.graph import build_definitions
from dasd_assets.profile import ComputePlan, Profile
from dasd_assets.profile.data_contracts import CONTRACTS
from formats.pages import markdown_table
from resources.compute.declared import CPUS
from resources.lake.tables import tables_of
from tools.reference.markdown import codes, page
from tools.reference.settings import Shaped, shape_all

INTRODUCTION = """\
Every asset, in the order of the data's way, as the profile `tiny` has it, and those that a further
student brings, here one called `other` with training settings of its own, a further teacher
`other`, and drops with answers without logprobs (`imported_answers`, `teacher_scores`).
**Read from** names what an asset depends
on and, in brackets, which partitions of it one of its own needs; without brackets the same one, or
the whole asset. **Shaped by** names the settings in its code version: another value makes all of
its partitions stale ([Settings](settings.md) says it the other way round)."""
NOWHERE = Path("/nowhere")


def assets_page(profile: Profile, shaped: Shaped) -> str:
    """Every asset: what it is, partitions, dependencies, tables, compute, checks; then the jobs.

    Args:
        profile: what partitions, pools and conditions are taken from.
        shaped: setting -> assets that have it in their code version.
    """
    definitions = build_definitions(profile, NOWHERE)
    compute = _compute_sections(profile)
    parts, group = [INTRODUCTION], None
    for spec, pool in _specs(definitions):
        if spec.group_name != group:
            group = spec.group_name
            parts.append(f"## {group}")
        name = spec.key.to_user_string()
        condition = spec.automation_condition
        facts = {
            "partitions": _partitions(spec.partitions_def),
            "read from": ", ".join(map(_dependency, spec.deps)),
            "tables": _links("tables.md", tables_of(spec.key.path[0])),
            "shaped by": _settings(name, shaped),
            "made without asking": (condition.get_label() or "yes") if condition else "",
            "compute": f"`compute.{compute[name]}`" if name in compute else "",
            "pool": f"`{pool}`" if pool else "",
            "checks": codes(contract.name for contract in CONTRACTS.get(spec.key.path[0], ())),
        }
        rows = [(fact, said) for fact, said in facts.items() if said]
        parts += [f"### {name}", spec.description or "", markdown_table(("", ""), rows)]
    started = [*(definitions.jobs or ()), *(definitions.sensors or ())]
    rows = [(f"`{one.name}`", getattr(one, "description", None) or "") for one in started]
    return page("Assets", *parts, "## Jobs and sensors", markdown_table(("name", "does"), rows))


def _specs(definitions: dg.Definitions) -> Iterator[tuple[dg.AssetSpec, str | None]]:
    """All assets, each with the pool its step takes a slot of."""
    for asset in definitions.assets or ():
        if isinstance(asset, dg.AssetSpec):
            yield asset, None
        elif isinstance(asset, dg.AssetsDefinition):
            pool = asset.op.pool if isinstance(asset.node_def, dg.OpDefinition) else None
            yield from ((spec, pool) for spec in asset.specs)


def _partitions(partitions: dg.PartitionsDefinition | None) -> str:
    if partitions is None:
        return "none"
    if isinstance(partitions, dg.MultiPartitionsDefinition):
        return " × ".join(_partitions(one.partitions_def) for one in partitions.partitions_defs)
    if isinstance(partitions, dg.DynamicPartitionsDefinition):
        return f"one per {partitions.name}"
    return codes(partitions.get_partition_keys())


def _dependency(dep: dg.AssetDep) -> str:
    mapping = dep.partition_mapping
    which = ""
    if isinstance(mapping, dg.AllPartitionMapping):
        which = " (all)"
    elif isinstance(mapping, dg.SpecificPartitionsPartitionMapping):
        which = f" ({codes(mapping.partition_keys)})"
    elif isinstance(mapping, dg.MultiToSingleDimensionPartitionMapping):
        which = f" (same {mapping.partition_dimension_name})"
    return f"`{dep.asset_key.to_user_string()}`{which}"


def _links(target: str, names: Sequence[str]) -> str:
    return ", ".join(f"[{name}]({target}#{name})" for name in names)


def _settings(asset: str, shaped: Shaped) -> str:
    if asset in shape_all(shaped):
        return "the whole profile"
    return codes(".".join(path) for path, assets in shaped.items() if asset in assets)


def _compute_sections(profile: Profile) -> dict[str, str]:
    """Asset -> the setting of its compute, found by giving each a number of cores of its own."""
    sections = list(ComputePlan.model_fields)
    numbered = ComputePlan.model_validate(
        {name: {"cpus": 1 + number} for number, name in enumerate(sections)}
    )
    definitions = build_definitions(profile.model_copy(update={"compute": numbered}), NOWHERE)
    return {
        spec.key.to_user_string(): sections[int(spec.metadata[CPUS]) - 1]
        for spec, _ in _specs(definitions)
        if CPUS in spec.metadata
    }
