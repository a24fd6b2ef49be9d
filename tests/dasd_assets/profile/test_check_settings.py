"""The section `checks` of a profile: defaults, overrides, and errors that name what is allowed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from dasd_assets.profile import PROFILE_FOLDER, ProfileError, load_profile
from dasd_assets.profile.check_settings import Checks, CheckSettings
from dasd_assets.profile.data_contracts import CONTRACTS


def with_checks(tmp_path: Path, section: Any) -> str:
    settings = yaml.safe_load((PROFILE_FOLDER / "tiny.yaml").read_text())
    file = tmp_path / "mine.yaml"
    file.write_text(yaml.safe_dump({**settings, "checks": section}))
    return str(file)


def test_the_defaults_are_those_of_the_contracts() -> None:
    for asset, contracts in CONTRACTS.items():
        settings = Checks().of(asset)
        assert list(settings) == [contract.name for contract in contracts]
        for contract in contracts:
            found = settings[contract.name]
            assert (found.min, found.max) == (contract.minimum, contract.maximum)
            assert found.severity == contract.severity
            assert contract.minimum is not None or contract.maximum is not None


def test_the_checks_share_one_class() -> None:
    """A class of its own for each made half a second of the start of every command."""
    all_checks = [check for asset in CONTRACTS for check in Checks().of(asset).values()]
    assert {type(check) for check in all_checks} == {CheckSettings}


def test_a_profile_names_only_what_it_changes(tmp_path: Path) -> None:
    section = {"teacher_responses": {"few_truncated": {"max": 0.4}, "drift": {"max": None}}}
    settings = load_profile(with_checks(tmp_path, section)).checks.of("teacher_responses")
    few = settings["few_truncated"]
    assert few.model_dump() == {"severity": "warn", "min": None, "max": 0.4}
    assert settings["drift"].allowed == "anything"
    kept = settings["all_answered"]
    assert kept.model_dump() == {"severity": "error", "min": None, "max": 0.0}


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"filtered": {}}, r"checks\.filtered: unknown key\. Allowed here: .*filtered_responses"),
        ({"questions": {"few_rejectd": {"max": 1}}},
         r"checks\.questions\.few_rejectd: unknown key\. Allowed here: .*few_rejected"),
        ({"questions": {"few_rejected": {"maximum": 1}}},
         r"few_rejected\.maximum: unknown key\. Allowed here: max, min, severity"),
        ({"questions": {"few_rejected": {"severity": "fatal"}}},
         r"few_rejected\.severity: .*'warn' or 'error'; found 'fatal'"),
        ({"questions": {"few_rejected": {"max": "some"}}}, r"few_rejected\.max: .*found 'some'"),
        ({"questions": {"few_rejected": {"max": float("nan")}}}, r"few_rejected\.max: .*finite"),
        ({"questions": {"few_rejected": {"min": 0.9}}}, r"min \(0\.9\) is above max \(0\.5\)"),
    ],
)  # fmt: skip
def test_a_bad_section_is_an_error_that_names_what_is_allowed(
    tmp_path: Path, section: Any, message: str
) -> None:
    with pytest.raises(ProfileError, match=message):
        load_profile(with_checks(tmp_path, section))


@pytest.mark.parametrize(
    ("low", "high", "words"),
    [
        (1, None, "at least 1"), (None, 0.05, "at most 0.05"), (0, 0, "0"),
        (None, None, "anything"),
        (0.99, 1, "at least 0.99 and at most 1"),
    ],
)  # fmt: skip
def test_limits_in_words(low: float | None, high: float | None, words: str) -> None:
    assert CheckSettings(severity="warn", min=low, max=high).allowed == words
