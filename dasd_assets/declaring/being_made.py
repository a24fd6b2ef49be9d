"""Whether something above a partition is being made, as a condition of automation."""

from __future__ import annotations

from dataclasses import dataclass

import dagster as dg

from dasd_assets.dagster_internals import Subset, on_its_way


@dataclass(frozen=True)
class SomethingAboveIsBeingMade(dg.AutomationCondition[dg.AssetKey]):
    """True for partitions that something is being made for, be it an input of an input's input.

    `any_deps_in_progress()` looks at the nearest inputs alone. After a changed filter these are at
    rest while what they are made of is made anew: a sample that is drawn then has old rows. What
    failed, and what waits for a person, is not being made. It is evaluated by the code location, as
    `automation.sensor` has it: the daemon does not know this class.
    """

    @property
    def name(self) -> str:
        """As the UI shows it."""
        return "something above is being made"

    async def evaluate(  # type: ignore[override]  # Dagster awaits a coroutine
        self, context: dg.AutomationContext[dg.AssetKey]
    ) -> dg.AutomationResult[dg.AssetKey]:
        """The candidates for which it is true; where there is none, nothing is asked of storage."""
        view, graph = context.asset_graph_view, context.asset_graph_view.asset_graph
        busy: dict[dg.AssetKey, Subset] = {}

        def above(key: dg.AssetKey) -> Subset:
            found = view.get_empty_subset(key=key)
            for parent in graph.get(key).parent_keys:
                found = found.compute_union(busy[parent].compute_child_subset(key))
            return found

        if context.candidate_subset.is_empty:
            return dg.AutomationResult(context, context.candidate_subset)
        ancestors = graph.get_ancestor_asset_keys(context.key)
        for key in [each for each in graph.toposorted_asset_keys if each in ancestors]:
            busy[key] = above(key).compute_union(await on_its_way(view, key))
            if (asked := context.request_subsets_by_key.get(key)) is not None:
                busy[key] = busy[key].compute_union(asked)
        return dg.AutomationResult(
            context, context.candidate_subset.compute_intersection(above(context.key))
        )
