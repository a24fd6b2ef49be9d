"""A profile that says what differs from another one, its base."""

from __future__ import annotations

from pathlib import Path

import pytest

from dasd_assets.profile import ProfileError, load_profile


def written(folder: Path, name: str, text: str) -> str:
    file = folder / f"{name}.yaml"
    file.write_text(text, encoding="utf-8")
    return str(file)


def test_sections_are_merged_and_what_is_only_takes_nothing_over(tmp_path: Path) -> None:
    mine = load_profile(
        written(
            tmp_path, "mine",
            "base: dasd-4b\nname: mine\nteacher_responses: {max_tokens: 32768}\n"
            "teacher: {engine: {kind: openai, base_url: 'http://h/v1', served_model: m}}\n"
            "divergence_sampling: {domain_shares: !only {}}\n"
            "questions: {near_duplicate_jaccard: null}\n",
        )
    )  # fmt: skip
    paper = load_profile("dasd-4b")
    assert (mine.name, mine.description) == ("mine", paper.description)
    assert mine.teacher_responses.max_tokens == 32_768
    assert mine.teacher_responses.temperatures == paper.teacher_responses.temperatures
    # Another kind of engine has other keys: none of the base's are left.
    assert mine.teacher is not None and mine.teacher.path == "openai/gpt-oss-120b"
    assert mine.teacher.engine.kind == "openai"
    assert mine.divergence_sampling.domain_shares == {}
    assert mine.divergence_sampling.budget_samples == paper.divergence_sampling.budget_samples
    assert mine.questions.near_duplicate_jaccard is None
    assert mine.questions.inbox == str(tmp_path / "inbox")  # beside the profile, not its base


def test_a_base_may_be_a_file_beside_the_profile_and_have_a_base(tmp_path: Path) -> None:
    written(tmp_path, "first", "base: tiny\nname: first\nseed: 7\n")
    second = load_profile(written(tmp_path, "second", "base: ./first.yaml\nname: second\n"))
    assert (second.name, second.seed) == ("second", 7)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("base: nope", r"nope: no such profile, the base of .*mine.yaml\. Shipped profiles: "),
        ("base: 7", r"mine.yaml: base must name a profile, found 7"),
        ("base: mine.yaml", r"mine.yaml: is its own `base`"),
        ("base: tiny\nteacher: {pth: x}", r"teacher.pth: unknown key"),
    ],
)
def test_what_cannot_be_a_base_is_named(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ProfileError, match=message):
        load_profile(written(tmp_path, "mine", text))
