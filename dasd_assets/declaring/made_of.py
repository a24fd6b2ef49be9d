"""Whether a partition was made of what is there now, as a condition of automation.

Dagster's own conditions compare events between two ticks. `executed_with_root_target()`, which says
that an input and what is made of it came of the same run, looks at the last run of the input as a
whole: of several partitions that were finished between two ticks it sees one.
"""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from dataclasses import dataclass

import dagster as dg

from dasd_assets.dagster_internals import keys_of, subset_of
from dasd_assets.declaring.out_of_date import Staleness


@dataclass(frozen=True)
class MadeOfOtherThings(dg.AutomationCondition[dg.AssetKey]):
    """True for partitions that were made of other inputs or by other settings than there are now.

    One that was never made is made of none of its inputs. It is evaluated by the code location, as
    `automation.sensor` has it: the daemon does not know this class.

    Attributes:
        what: in words, for the UI.
        inputs: only these inputs are looked at; `None` among them stands for the settings and the
            code. Unset: all inputs, not the settings.
    """

    what: str
    inputs: AbstractSet[dg.AssetKey | None] | None = None

    @property
    def name(self) -> str:
        """As the UI shows it."""
        return f"made {self.what} than there are now"

    def evaluate(
        self, context: dg.AutomationContext[dg.AssetKey]
    ) -> dg.AutomationResult[dg.AssetKey]:
        """The candidates for which it is true; where there is none, nothing is asked of storage."""
        key = context.key
        candidates = keys_of(context.candidate_subset)
        if candidates:
            view = context.asset_graph_view
            staleness = Staleness(view.asset_graph, view.instance)
            candidates = {
                partition
                for partition in candidates
                if self._is_looked_at(staleness.changed(key, partition))
            }
        return dg.AutomationResult(context, subset_of(context.asset_graph_view, key, candidates))

    def _is_looked_at(self, changed: AbstractSet[dg.AssetKey | None]) -> bool:
        return bool(changed - {None} if self.inputs is None else changed & self.inputs)
