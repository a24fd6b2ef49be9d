"""What Dagster knows of the data that goes into a release: versions, and checks that failed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from collections.abc import Set as AbstractSet

import dagster as dg

from dasd_assets.dagster_internals import DATA_VERSION_TAG, AssetGraph, CheckStatus
from dasd_assets.declaring.check_outcomes import of_contracts
from dasd_assets.declaring.materializations import latest_materializations
from dasd_assets.declaring.out_of_date import Staleness, State
from dasd_assets.evaluation.assets import CHECKPOINT_ASSETS
from dasd_assets.partitions import still_there
from dasd_assets.profile import Profile
from dasd_assets.profile.data_contracts import CONTRACTS
from dasd_assets.release.folder import ReleaseError
from dasd_assets.release.lineage import CheckResults, Source

CODE_VERSION_TAG = "dagster/code_version"
INPUT_VERSION_TAG = "dagster/input_data_version/"
SAMPLE = dg.AssetKey("divergence_sample")
MAX_EXAMPLES = 5


def sources(
    instance: dg.DagsterInstance,
    profile: Profile,
    assets: AbstractSet[dg.AssetKey],
    left_out: AbstractSet[str] = frozenset(),
) -> list[Source]:
    """The newest version of every partition of the assets that there is and that has been made.

    Args:
        assets: what the release is made of. Whatever else has been made by now must not be among
            them: the same release would have another version an hour later.
        left_out: question_shards of which nothing is released.
    """
    found = []
    for event in _made(instance, profile):
        is_left_out = not left_out.isdisjoint((event.partition or "").split("|"))
        if event.asset_key in assets and not is_left_out:
            tags = event.tags or {}
            found.append(
                Source(
                    event.asset_key.to_user_string(),
                    event.partition or "",
                    tags.get(DATA_VERSION_TAG, ""),
                    tags.get(CODE_VERSION_TAG, ""),
                )
            )
    return sorted(found)


def ancestors(graph: AssetGraph, key: dg.AssetKey) -> AbstractSet[dg.AssetKey]:
    """The asset and all that it is made of."""
    return graph.get_ancestor_asset_keys(key, include_self=True)


def _made(instance: dg.DagsterInstance, profile: Profile) -> list[dg.AssetMaterialization]:
    is_there = still_there(profile, instance)
    events = (event for event, *_ in latest_materializations(instance))
    return [event for event in events if is_there(event.partition)]


def require_checks_passed(
    instance: dg.DagsterInstance, profile: Profile, found: list[Source]
) -> CheckResults:
    """Refuse a release while a check of its sources fails with severity `error`.

    Those that block have come to an end before anything is made of what they look at. The others
    run when they run: counted, they would make another release of the same data.

    Raises:
        ReleaseError: naming the checks and partitions.
    """
    errors = []
    n_passed = 0
    warnings: Counter[str] = Counter()
    places = {(source.asset, source.partition) for source in found}
    blocking = {
        (asset, c.name) for asset, all_of in CONTRACTS.items() for c in all_of if c.blocking
    }
    for outcome, severity in of_contracts(instance, profile, {asset for asset, _ in places}):
        asset = outcome.key.asset_key.to_user_string()
        if (asset, outcome.partition or "") not in places:
            continue
        name = f"{asset}: {outcome.key.name}"
        if outcome.status is CheckStatus.PASSED:
            n_passed += (outcome.key.asset_key.path[0], outcome.key.name) in blocking
        elif severity == "error":
            errors.append(f"{name} [{outcome.partition}]" if outcome.partition else name)
        else:
            warnings[name] += 1
    if errors:
        more = f", and {len(errors) - MAX_EXAMPLES} more" if len(errors) > MAX_EXAMPLES else ""
        raise ReleaseError(
            f"checks failed on data that would be released: "
            f"{'; '.join(errors[:MAX_EXAMPLES])}{more}. Mend the data and materialize it again, "
            "or change the limits in the profile's section checks and run the checks again."
        )
    return CheckResults(n_passed, warnings)


def require_up_to_date(
    graph: AssetGraph, staleness: Staleness, released: Collection[dg.AssetKey]
) -> None:
    """Refuse what may still have rows of a shard that no sample is drawn from any more.

    Every asset on the way from the samples is asked: a checkpoint is up to date with its training
    set also where that is not with its sample.

    Args:
        released: the assets whose data is released.

    Raises:
        ReleaseError: naming the assets that are not up to date.
    """
    found = []
    with staleness.loading():
        for key in _made_of_samples(graph, released):
            for partition in staleness.partitions(key):
                if (state := staleness.state(key, partition)) is not State.FRESH:
                    name = key.to_user_string() + (f" [{partition}]" if partition else "")
                    found.append(f"{name} is {state}")
    if found:
        raise ReleaseError(
            "a question_shard was excluded or retired, and what is released may still have rows "
            f"of it, or have been trained on them: {'; '.join(sorted(found))}. `dasd run` makes "
            "all of it anew"
        )


def _made_of_samples(graph: AssetGraph, released: Collection[dg.AssetKey]) -> list[dg.AssetKey]:
    """The samples, what is released, and what lies between them, of what Dagster makes."""
    below = {SAMPLE}
    above = {one for key in released for one in ancestors(graph, key)}
    for key in graph.toposorted_asset_keys:
        if graph.get(key).parent_keys & below:
            below.add(key)
    return [
        key
        for key in graph.toposorted_asset_keys
        if key in above & below and graph.get(key).is_materializable
    ]


def require_current_evaluations(
    instance: dg.DagsterInstance, profile: Profile, checkpoint: str, data_version: str
) -> None:
    """Refuse a model whose evaluation, or one it is compared with, is of an earlier checkpoint.

    Args:
        checkpoint: that would be released.
        data_version: of its weights.

    Raises:
        ReleaseError: naming the evaluations and their sets.
    """
    events = _made(instance, profile)
    current = {
        event.asset_key.to_user_string(): (event.tags or {}).get(DATA_VERSION_TAG)
        for event in events
    }
    current[CHECKPOINT_ASSETS[checkpoint]] = data_version
    stale: dict[str, list[str]] = {}
    for event in events:
        asset = CHECKPOINT_ASSETS.get(event.asset_key.path[-1])
        if event.asset_key.path[0] == "evaluation" and asset:
            made_of = (event.tags or {}).get(f"{INPUT_VERSION_TAG}{asset}")
            if made_of is not None and made_of != current.get(asset):
                name = f"{event.asset_key.to_user_string()} of {asset}"
                stale.setdefault(name, []).append(event.partition or "")
    if stale:
        named = "; ".join(f"{name} [{', '.join(sets)}]" for name, sets in sorted(stale.items()))
        raise ReleaseError(
            f"evaluations of an earlier checkpoint: {named}. Their numbers are not those of the "
            "model that there is now. Materialize them again."
        )
