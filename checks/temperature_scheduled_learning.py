"""Checks on trained checkpoints: the certificate of their batches, and their losses."""

import json
import math
from collections.abc import Iterator

import dagster as dg

from checks.declare import Check, Run, Verdict, asset_checks
from dasd_assets.profile import Profile
from resources.lake import Lake

NOTHING_CUT = Check(
    "nothing_cut",
    "Every sample of the training set is in the packed batches, whole and with its end token.",
    blocking=True,
)
FINITE_LOSS = Check("finite_loss", "Every logged loss is a finite number.", blocking=True)
LOSS_FELL = Check("loss_fell", "The loss at the end is below the loss at the start.")


def checkpoint_checks(asset: str, checkpoint: str) -> dg.AssetChecksDefinition:
    """Checks on one checkpoint asset."""
    return asset_checks(asset, [NOTHING_CUT, FINITE_LOSS, LOSS_FELL], _check(checkpoint))


def build(profile: Profile) -> list[dg.AssetChecksDefinition]:
    """Checks of the box for one profile."""
    return [
        checkpoint_checks("low_temperature_checkpoint", "low_temperature"),
        checkpoint_checks("high_temperature_checkpoint", "high_temperature"),
    ]


def _check(checkpoint: str) -> Run:
    def check(context: dg.AssetCheckExecutionContext, lake: Lake) -> Iterator[Verdict]:
        folder = lake.current_checkpoint(checkpoint)
        certificate = json.loads((folder / "certificate.json").read_text(encoding="utf-8"))
        lost = certificate["samples_in"] - certificate["samples_out"]
        yield Verdict(NOTHING_CUT, lost == 0, lost, "0 samples lost")
        lines = (folder / "training_log.jsonl").read_text(encoding="utf-8").splitlines()
        losses = [row["loss"] for row in map(json.loads, lines) if "loss" in row]
        bad = sum(not math.isfinite(loss) for loss in losses)
        yield Verdict(FINITE_LOSS, bool(losses) and not bad, bad, "0 of the logged losses")
        fell = len(losses) > 1 and losses[-1] < losses[0]
        yield Verdict(LOSS_FELL, fell, [losses[0], losses[-1]] if losses else [], "last < first")

    return check
