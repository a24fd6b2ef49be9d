"""Checks on training sets and checkpoints: the certificate of the batches, and the losses."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import dagster as dg

from checks.checked_partition import CheckedPartition
from checks.declare import Measure, asset_checks
from checks.drift import Summary
from checks.expectations import Measurement
from checks.row_rules import POSITIVE_WEIGHT, rows_that_break
from dasd_assets.partitions import TEMPERATURE
from dasd_assets.profile import Profile
from dasd_assets.reporting.loss_course import loss_course
from formats.checkpoint_folder import CERTIFICATE

OF_SAMPLE: Final = ("divergence_sample", "response_id")
"""Table and ids of what the first two stages are trained on."""


def checkpoint_checks(
    profile: Profile, asset: str | dg.AssetKey, checkpoint: str, *, is_last_stage: bool = False
) -> dg.AssetChecksDefinition:
    """Checks on one checkpoint asset.

    Args:
        is_last_stage: its loss starts where two stages have left it, and need not fall.
    """
    return asset_checks(profile, asset, _checkpoint(checkpoint, is_last_stage))


def training_set_checks(
    profile: Profile,
    asset: str | dg.AssetKey,
    checkpoint: str,
    sample: str,
    sample_id: str,
    keys: Mapping[str, str] | None = None,
    **fixed: Any,
) -> dg.AssetChecksDefinition:
    """Checks on one training set.

    Args:
        sample: the table whose rows it is made of, with its column of ids and the keys of its
            partition.
        fixed: the key of the set's own partition, if it has one.
    """
    table = dg.AssetKey.from_coercible(asset).path[0]

    def measure(data: CheckedPartition) -> Iterator[Measurement]:
        file = data.lake.file_of_current(f"training_sets/{checkpoint}", CERTIFICATE)
        yield _certificate_holds(_certificate(file), checkpoint)
        data.view(sample, **(keys or {}))
        n_apart, ids = data.broken(
            f"""select id from (
                    select sample_id as id, 1 as n from {table}
                    union all select {sample_id}, -1 from {sample}
                ) group by id having sum(n) <> 0"""
        )
        yield Measurement("same_samples", {data.name(): n_apart}, ids)
        yield rows_that_break(data, table, "sample_id", POSITIVE_WEIGHT)

    return asset_checks(profile, asset, measure, **fixed)


def build(profile: Profile) -> list[dg.AssetChecksDefinition]:
    """Checks of the box for one profile."""
    return [
        *(
            training_set_checks(
                profile,
                f"{temperature}_temperature_training_set",
                f"{temperature}_temperature",
                *OF_SAMPLE,
                {TEMPERATURE: temperature},
            )
            for temperature in ("low", "high")
        ),
        *(
            training_set_checks(
                profile,
                dg.AssetKey(["student_training_set", name]),
                name,
                *OF_SAMPLE,
                {TEMPERATURE: "low"},
                student=name,
            )
            for name in profile.students
        ),
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
        certificate = _certificate(folder / CERTIFICATE)
        yield _certificate_holds(certificate, checkpoint)
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


def _certificate(file: Path) -> dict[str, Any]:
    """A certificate; empty if there is none."""
    return dict(json.loads(file.read_text(encoding="utf-8"))) if file.is_file() else {}


def _certificate_holds(certificate: Mapping[str, Any], subject: str) -> Measurement:
    checks = certificate.get("checks", [])
    broken = [check for check in checks if not check["passed"]]
    causes = tuple(f"{check['name']}: {check['cause']}" for check in broken)
    return Measurement("certificate_holds", {subject: len(broken) if checks else 1}, causes)
