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
from dasd_assets.reporting.loss_course import loss_course


def checkpoint_checks(
    profile: Profile, asset: str | dg.AssetKey, checkpoint: str, *, is_last_stage: bool = False
) -> dg.AssetChecksDefinition:
    """Checks on one checkpoint asset.

    Args:
        is_last_stage: its loss starts where two stages have left it, and need not fall.
    """
    return asset_checks(profile, asset, _checkpoint(checkpoint, is_last_stage))


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


def _checkpoint(checkpoint: str, is_last_stage: bool) -> Measure:
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
        course = loss_course([row["loss"] for row in logged])
        check = "loss_not_risen" if is_last_stage else "loss_fell"
        if course is None:
            yield Measurement(check, {checkpoint: math.inf}, details="no losses to compare")
            return
        found = course.rise(course.first) if is_last_stage else course.last / course.first
        details = {"first": course.first, "last": course.last, "standard_error": course.error}
        yield Measurement(check, {checkpoint: found}, details=details)

    return measure
