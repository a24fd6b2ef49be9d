"""Proposals to train: new samples are shown with what training on them would take, and wait.

Nothing trains by itself. When a divergence sample changed, this check on the checkpoint that
learns from it warns; running the job `train_student` approves, and the check passes again.
"""

from collections.abc import Mapping
from typing import Any

import dagster as dg

from dasd_assets.declaring.alerts import PROPOSAL
from dasd_assets.declaring.automation import PROPOSE
from dasd_assets.declaring.out_of_date import Staleness, State
from dasd_assets.profile import Profile
from resources.lake.lake import Lake

TRAINED_ON = {"low_temperature_checkpoint": "low", "high_temperature_checkpoint": "high"}
SAMPLE = dg.AssetKey("divergence_sample")
APPROVE = "To approve, run the job `train_student`; to decline, do nothing."

Metadata = Mapping[str, Any]


def build(profile: Profile) -> list[dg.AssetChecksDefinition]:
    """One check per checkpoint that learns from a divergence sample."""
    return [_check(key, temperature) for key, temperature in proposing(profile).items()]


def proposing(profile: Profile) -> dict[dg.AssetKey, str]:
    """Checkpoint that learns from a divergence sample -> the sample's temperature."""
    others = {f"student_checkpoint/{name}": "low" for name in profile.students}
    return {
        dg.AssetKey.from_user_string(asset): temperature
        for asset, temperature in (TRAINED_ON | others).items()
    }


def _check(key: dg.AssetKey, temperature: str) -> dg.AssetChecksDefinition:
    @dg.asset_check(
        asset=key,
        name=PROPOSAL,
        description=f"Whether the checkpoint was trained on the current `{temperature}` sample, "
        f"start and settings. If not: what changed, and what training would take. {APPROVE}",
        additional_deps=[SAMPLE],
        automation_condition=PROPOSE,
    )
    def trained_on_current_sample(
        context: dg.AssetCheckExecutionContext, lake: Lake
    ) -> dg.AssetCheckResult:
        staleness = Staleness(context.repository_def.asset_graph, context.instance, lake)
        is_fresh = staleness.state(key) == State.FRESH
        reasons = [str(cause) for cause in staleness.causes(key)]
        trained = context.instance.get_latest_materialization_event(key)
        before = trained.timestamp if trained else None
        return dg.AssetCheckResult(
            passed=is_fresh,
            severity=dg.AssetCheckSeverity.WARN,
            description=None if is_fresh else APPROVE,
            metadata=proposal(
                reasons if trained else ["never trained"],
                _latest(context.instance, SAMPLE, temperature),
                _latest(context.instance, SAMPLE, temperature, before) if before else {},
                _latest(context.instance, key),
            ),
        )

    return trained_on_current_sample


def proposal(reasons: list[str], now: Metadata, then: Metadata, training: Metadata) -> Metadata:
    """What a person has to know to approve a training.

    Args:
        now: metadata of the current sample.
        then: of the sample that was trained on.
        training: of the last training; its time and GPU-hours are scaled by the samples' tokens.
    """
    told: dict[str, Any] = {"what_changed": "; ".join(reasons) or "nothing"}
    for name in ("dagster/row_count", "n_tokens"):
        if name in now:
            told[f"sample_{name.split('/')[-1]}"] = f"{then.get(name, 0)} → {now[name]}"
    if not now.get("n_tokens") or not then.get("n_tokens"):
        told["would_take"] = "not known before the first training; `dasd plan` estimates it"
        return told
    scale = now["n_tokens"] / then["n_tokens"]
    for name in ("cost/seconds", "cost/gpu_hours", "cost/money"):
        if name in training:
            told[f"would_take_{name.split('/')[-1]}"] = round(training[name] * scale, 3)
    return told


def _latest(
    instance: dg.DagsterInstance,
    key: dg.AssetKey,
    partition: str | None = None,
    before: float | None = None,
) -> Metadata:
    """Metadata of the latest materialization, or of the latest one before a time."""
    records = instance.fetch_materializations(
        dg.AssetRecordsFilter(
            key,
            asset_partitions=[partition] if partition is not None else None,
            before_timestamp=before,
        ),
        limit=1,
    ).records
    if not records or records[0].asset_materialization is None:
        return {}
    metadata = records[0].asset_materialization.metadata
    return {name: value.value for name, value in metadata.items()}
