"""Profiles with answers of their own: what cannot be known is refused when one is loaded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from dasd_assets.profile import PROFILE_FOLDER, ProfileError, load_profile

BARE = {"text": "output", "temperatures": {"low": {}, "high": {}}}
INLINE = {**BARE, "tokens": {}, "model": "openai/gpt-oss-120b"}
CHAT = {
    "path": "tiny_world/models/teacher",
    "engine": {"kind": "openai", "base_url": "http://x/v1", "served_model": "m",
               "endpoint": "chat"},
}  # fmt: skip
WITHOUT = {"divergence_sampling": {"policy": "longest"}}


def load(folder: Path, answers: dict[str, Any] | None, **sections: Any) -> Any:
    settings = yaml.safe_load((PROFILE_FOLDER / "tiny.yaml").read_text(encoding="utf-8"))
    layout = {"question": "q", "domain": {"value": "math"}, "answer": {"value": None}}
    layout |= {"answers": answers} if answers else {}
    settings["questions"]["layouts"] = {"mine": layout}
    for name, section in sections.items():
        is_merged = isinstance(section, dict) and name not in {"teacher", "teachers"}
        settings[name] = {**settings[name], **section} if is_merged else section
    file = folder / "mine.yaml"
    file.write_text(yaml.safe_dump(settings), encoding="utf-8")
    return load_profile(str(file))


@pytest.mark.parametrize(
    ("answers", "sections", "no_teacher_scores", "no_mixed_policy"),
    [
        (None, {}, "no layout", None),
        (INLINE, {}, "no layout", None),
        (INLINE, {"teacher": None}, "no layout", "teacher: null"),
        (BARE, {}, None, None),
        (BARE, {"teacher": None, **WITHOUT}, "teacher: null", "teacher: null"),
        (BARE, {"teacher": CHAT, **WITHOUT}, "the chat endpoint cannot score", None),
    ],
)
def test_what_the_graph_leaves_out_has_its_reason(
    tmp_path: Path,
    answers: dict[str, Any] | None,
    sections: dict[str, Any],
    no_teacher_scores: str | None,
    no_mixed_policy: str | None,
) -> None:
    profile = load(tmp_path, answers, **sections)
    assert (no_teacher_scores or "None") in str(profile.no_teacher_scores)
    assert (no_mixed_policy or "None") in str(profile.no_mixed_policy)


@pytest.mark.parametrize(
    ("answers", "sections", "message"),
    [
        (None, {"teacher": None}, "there is nobody to answer a question"),
        (INLINE, {"teacher": None, "teachers": {"b": {"path": "x"}}},
         "teachers names b, and teacher is null: make one of them `teacher`"),
        (
            BARE,
            {"teacher": None},
            r"policy divergence_count needs the teacher's probabilities of the answers of "
            r"questions\.layouts\.mine, .*\(teacher: null\)\. Choose one of random, longest, ",
        ),
        (BARE, {"teacher": CHAT}, "divergence_count needs .*the chat endpoint cannot score"),
        (
            BARE,
            {"teacher": None,
             "divergence_sampling": {"policy": "random", "weights": {"kind": "power"}}},
            "weights of kind power needs the teacher's probabilities",
        ),
        (
            {**BARE, "tokens": {}},
            {"teacher": None},
            r"mine\.answers has tokens, and no model whose tokenizer could read them",
        ),
        (
            {**BARE, "temperatures": {"warm": {}}},
            {},
            "names warm, which is none of teacher_responses.temperatures: ",
        ),
        ({**BARE, "tokens": {"files": "x/*"}}, {}, "files and id belong together"),
        ({**BARE, "tokens": {"files": "x/*", "id": "u"}}, {}, "a companion .* is joined by it"),
        ({**BARE, "temperatures": {}}, {}, "at least 1 item"),
        ({**BARE, "text": "a..b"}, {}, r"answers\.text: "),
    ],
)  # fmt: skip
def test_a_profile_that_cannot_have_what_it_needs_is_refused(
    tmp_path: Path, answers: dict[str, Any] | None, sections: dict[str, Any], message: str
) -> None:
    with pytest.raises(ProfileError, match=message):
        load(tmp_path, answers, **sections)


def test_the_released_profile_differs_from_the_papers_in_who_answers() -> None:
    released, paper = load_profile("dasd-4b-released"), load_profile("dasd-4b")
    assert released.teacher is None
    apart = {
        "name", "description", "teacher", "questions", "teacher_responses", "response_filtering",
        "divergence_sampling", "compute", "plan",
    }  # fmt: skip
    assert released.model_dump(exclude=apart) == paper.model_dump(exclude=apart)
    of_both = {"policy", "rule", "budget_samples", "segmenter"}
    dumps = [p.divergence_sampling.model_dump(include=of_both) for p in (released, paper)]
    assert dumps[0] == dumps[1]


def test_the_writer_in_the_profiles_own_folder_is_found_there(tmp_path: Path) -> None:
    (tmp_path / "writer").mkdir()
    profile = load(tmp_path, {**INLINE, "model": "writer"})
    assert profile.imports["mine"].model == str(tmp_path / "writer")
