"""Checks on trained checkpoints: the certificate of their batches, and their losses."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator

import dagster as dg

from checks.checked_partition import CheckedPartition
from checks.declare import Measure, asset_checks
from checks.drift import Summary
from checks.expectations import Measurement
from dasd_assets.profile import Profile


def checkpoint_checks(
    profile: Profile, asset: str | dg.AssetKey, checkpoint: str
) -> dg.AssetChecksDefinition:
    """Checks on one checkpoint asset."""
    return asset_checks(profile, asset, _checkpoint(checkpoint))


def build(profile: Profile) -> list[dg.AssetChecksDefinition]:
    """Checks of the box for one profile."""
    return [
        checkpoint_checks(profile, "low_temperature_checkpoint", "low_temperature"),
        checkpoint_checks(profile, "high_temperature_checkpoint", "high_temperature"),
        *(
            checkpoint_checks(profile, dg.AssetKey(["student_checkpoint", name]), name)
            for name in profile.students
        ),
    ]


def _checkpoint(checkpoint: str) -> Measure:
    def measure(data: CheckedPartition) -> Iterator[Measurement | Summary]:
        folder = data.lake.current_checkpoint(checkpoint)
        file = folder / "certificate.json"
        certificate = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
        broken = [check for check in certificate.get("checks", []) if not check["passed"]]
        n_broken = len(broken) if certificate.get("checks") else 1
        causes = tuple(f"{check['name']}: {check['cause']}" for check in broken)
        yield Measurement("certificate_holds", {checkpoint: n_broken}, causes)
        lost = certificate.get("samples_in", math.inf) - certificate.get("samples_out", 0)
        yield Measurement("nothing_cut", {checkpoint: lost})
        lines = (folder / "training_log.jsonl").read_text(encoding="utf-8").splitlines()
        logged = [row for row in map(json.loads, lines) if "loss" in row]
        bad = [row for row in logged if not math.isfinite(row["loss"])]
        examples = tuple(f"step {row.get('step')}: {row['loss']}" for row in bad[:5])
        yield Measurement("finite_loss", {checkpoint: len(bad) if logged else 1}, examples)
        if bad or len(logged) < 2:
            yield Measurement("loss_fell", {checkpoint: math.inf}, details="no losses to compare")
            return
        first, last = logged[0]["loss"], logged[-1]["loss"]
        details = {"first": first, "last": last}
        yield Measurement("loss_fell", {checkpoint: last / first}, details=details)

    return measure
