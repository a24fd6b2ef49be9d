"""What is made without being asked for: one condition per kind of work, applied to selections.

The conditions take effect when the automation sensor is switched on in the UI. They carry every
change down to the divergence sample; training is proposed (`checks/training_proposals.py`), never
started. docs/incremental-and-backfills.md is the user's page about it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import dagster as dg

from dasd_assets.declaring.being_made import SomethingAboveIsBeingMade
from dasd_assets.declaring.jobs import run_tags
from dasd_assets.declaring.made_of import MadeOfOtherThings

Condition = dg.AutomationCondition

is_new: Final = (
    Condition.missing().newly_true().since(Condition.newly_requested()) & Condition.missing()
).with_label("never made, and not asked for before")

# That an input was made or a setting changed only says when to look. Whether there is anything to
# do is seen at each tick in what the partition was made of: of several that were finished between
# two ticks, and of what a person made while this was switched off, nothing is asked for again.
_made: Final = (
    # Has times, unlike `data_version_changed()`: what is made between a request and the tick after
    # it would be forgotten.
    Condition.newly_updated()
)

input_changed: Final = (
    Condition.any_deps_match(_made).since(Condition.newly_requested())
    & MadeOfOtherThings("of other inputs")
).with_label("an input changed")

questions_changed: Final = (
    Condition.any_deps_match(_made)
    .allow(dg.AssetSelection.assets("questions"))
    .since(Condition.newly_requested())
    & MadeOfOtherThings("of other questions", frozenset({dg.AssetKey("questions")}))
).with_label("its questions changed")

settings_changed: Final = (
    Condition.code_version_changed().since(Condition.newly_requested())
    & MadeOfOtherThings("by other settings", frozenset({None}))
).with_label("its settings changed")
# Each of these holds until the partition is asked for, not until it is made: an input that changes
# while the partition is in a run is not forgotten. What failed or was cancelled is asked for once.

inputs_are_there: Final = ~Condition.any_deps_missing()
inputs_are_settled: Final = ~Condition.any_deps_in_progress()
inputs_passed_blocking_checks: Final = Condition.all_deps_match(
    # In one run, the checks of an input run before what is made of it.
    Condition.will_be_requested()
    | Condition.all_checks_match(Condition.check_passed(), blocking_only=True)
).with_label("inputs passed their blocking checks")
is_idle: Final = (~Condition.in_progress()).with_label("is in no run or backfill")
can_be_made: Final = (
    inputs_are_there & inputs_are_settled & inputs_passed_blocking_checks & is_idle
).with_label("can be made now")

some_inputs_are_there: Final = Condition.any_deps_match(~Condition.missing()).with_label(
    "some partitions of its inputs are there"
)
can_be_drawn: Final = (some_inputs_are_there & ~SomethingAboveIsBeingMade() & is_idle).with_label(
    "can be drawn now"
)
# Without regard to what failed: a drop that cannot be read would hold up the sample for ever.

READ_AGAIN: Final = (settings_changed & can_be_made).with_label("read again")
"""For what the inbox sensor asks for when it is new or changed."""

ASK_WHAT_IS_NEW: Final = ((is_new | questions_changed) & can_be_made).with_label("ask what is new")
"""For what costs teacher time. Changed settings make it stale; asking again is a person's word."""

KEEP_UP_TO_DATE: Final = (
    (is_new | input_changed | settings_changed) & can_be_made
).with_label("keep up to date")  # fmt: skip

DRAW: Final = ((is_new | input_changed | settings_changed) & can_be_drawn).with_label("draw")
"""For the samples, where they are drawn from the shards that are ready."""

DRAW_FROM_ALL: Final = (
    (is_new | input_changed | settings_changed) & inputs_are_there & can_be_drawn
).with_label("draw from all")
"""For the samples, where each shard has to be ready."""

PROPOSE: Final = (
    Condition.any_deps_match(Condition.newly_updated()).since(Condition.newly_requested())
    & inputs_are_settled
    & is_idle
).with_label("look again whether to propose a training")
"""For the check that proposes a training; what it looks at is quickly looked at."""

SENSOR: Final = "keep_up_to_date"
SAMPLE: Final = "divergence_sample"
POLICIES: Final = {
    "read again": (dg.AssetSelection.assets("raw_questions"), READ_AGAIN),
    "ask what is new": (dg.AssetSelection.assets("teacher_responses"), ASK_WHAT_IS_NEW),
    "keep up to date": (
        dg.AssetSelection.groups(
            "models", "questions", "teacher_responses", "response_filtering", "divergence_sampling"
        )
        - dg.AssetSelection.assets("raw_questions", "teacher_responses", SAMPLE),
        KEEP_UP_TO_DATE,
    ),
}
"""Which assets follow which condition. Training and what is below it follow none."""


def automated(
    assets: Sequence[dg.AssetsDefinition], require_all_shards: bool
) -> list[dg.AssetsDefinition]:
    """The assets with the conditions that they follow.

    Args:
        require_all_shards: whether samples wait for every shard.
    """
    conditions = {
        key: condition
        for selection, condition in POLICIES.values()
        for key in selection.resolve(assets)
    }
    conditions[dg.AssetKey(SAMPLE)] = DRAW_FROM_ALL if require_all_shards else DRAW

    def with_condition(spec: dg.AssetSpec) -> dg.AssetSpec:
        return spec.replace_attributes(automation_condition=conditions.get(spec.key))

    return [asset.map_asset_specs(with_condition) for asset in assets]


def sensor(profile: str) -> dg.AutomationConditionSensorDefinition:
    """What looks at the conditions; it is off until somebody switches it on in the UI."""
    return dg.AutomationConditionSensorDefinition(
        SENSOR,
        target=dg.AssetSelection.all(),
        description="Carries new drops and changed settings down to the divergence samples, each "
        "partition once, and looks again whether to propose a training. Trains nothing, and asks "
        "the teacher only what it was not asked before.",
        # The conditions of this project are known here, not to the daemon.
        use_user_code_server=True,
        run_tags=run_tags(profile, SENSOR),
    )
