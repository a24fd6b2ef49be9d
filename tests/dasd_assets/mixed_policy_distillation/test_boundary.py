"""The boundary of a rollout: the last end of a sentence before the student starts to guess."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.scripted_engine import ScriptedEngine, encode, written

from dasd_assets.divergence_sampling.reasoning_segmenter import ReasoningSegmenter
from dasd_assets.mixed_policy_distillation.boundary import Boundary, boundary_of
from dasd_assets.mixed_policy_distillation.continuations import (
    continue_rollouts,
    cut_position,
    cut_rollout,
    first_position,
    read_to_continue,
)
from dasd_assets.profile import EntropyCut, load_profile
from resources.lake.lake import Lake
from resources.lake.tables.mixed_policy_distillation import STUDENT_ROLLOUTS, TEACHER_CONTINUATIONS

SENTENCES = [f"So we add {n} and {n} to the sum." for n in range(11, 21)]
TEXT = "<think>\n" + " ".join(SENTENCES)
IDS = np.asarray(encode("student", TEXT), np.int32)
STUDENT, TEACHER = written("student"), written("teacher").format
BOUNDARY = Boundary(EntropyCut(window_tokens=4), ReasoningSegmenter())


def starts_of(text: str) -> int:
    """The token in which a piece of TEXT begins."""
    n_bytes = len(TEXT[: TEXT.index(text)].encode())
    return int(np.searchsorted(np.cumsum(STUDENT.token_bytes.n_bytes[IDS]), n_bytes, side="right"))


def calm() -> np.ndarray:
    """Logprobs of a student that is as sure everywhere."""
    return np.full(len(IDS), -0.5, np.float32)


def kept(logprobs: np.ndarray, min_fraction: float = 0.5, boundary: Boundary = BOUNDARY) -> str:
    cut = cut_rollout(IDS, STUDENT, TEACHER, min_fraction, 7, boundary, logprobs)
    assert cut.kind == "entropy"
    assert min_fraction < cut.fraction < 1
    return cut.prefix.student_text


def test_the_cut_goes_back_to_the_end_of_the_sentence_before() -> None:
    guessing = calm()
    guessing[starts_of("18 to the sum") :] = -3.0
    assert kept(guessing) == "<think>\n" + " ".join(SENTENCES[:7])


def test_a_line_is_a_safe_state_as_well() -> None:
    text = "<think>\n" + "\n".join(f"add {n} to {n}, which makes" for n in range(11, 21))
    ids = np.asarray(encode("student", text), np.int32)
    logprobs = np.full(len(ids), -0.5, np.float32)
    logprobs[-10:] = -3.0
    cut = cut_rollout(ids, STUDENT, TEACHER, 0.5, 7, BOUNDARY, logprobs)
    assert cut.kind == "entropy"
    assert text.startswith(cut.prefix.student_text)
    assert cut.prefix.student_text.endswith("which makes\n")


def test_one_unlikely_token_is_no_boundary_where_the_window_is_long() -> None:
    one = calm()
    one[starts_of("18 to the sum")] = -2.0
    long = Boundary(EntropyCut(window_tokens=20), ReasoningSegmenter())
    early = one.copy()
    early[3:6] = -2.0  # as much is ordinary for this rollout
    assert long.position(IDS, early, STUDENT.token_bytes, first_position(len(IDS), 0.5)) is None


def test_a_window_before_the_first_safe_place_counts_for_nothing() -> None:
    logprobs = calm()
    first = starts_of(SENTENCES[5]) + 1
    logprobs[first : first + 4] = -3.0
    assert BOUNDARY.position(IDS, logprobs, STUDENT.token_bytes, first) is None
    logprobs[starts_of("19 to the sum") :] = -3.0
    assert BOUNDARY.position(IDS, logprobs, STUDENT.token_bytes, first) is not None


@pytest.mark.parametrize(
    ("logprobs", "boundary", "min_fraction"),
    [
        (calm(), BOUNDARY, 0.5),
        (np.linspace(-3.0, -0.1, len(IDS), dtype=np.float32), BOUNDARY, 0.5),
        (calm(), Boundary(EntropyCut(window_tokens=500), ReasoningSegmenter()), 0.5),
        (np.linspace(-0.1, -3.0, len(IDS), dtype=np.float32), BOUNDARY, 0.0),  # nothing before
        (np.linspace(-0.1, -3.0, len(IDS), dtype=np.float32), BOUNDARY, 1.0),  # nothing behind
    ],
)
def test_without_a_boundary_the_cut_is_the_random_one(
    logprobs: np.ndarray, boundary: Boundary, min_fraction: float
) -> None:
    for seed in range(20):
        cut = cut_rollout(IDS, STUDENT, TEACHER, min_fraction, seed, boundary, logprobs)
        assert cut == cut_rollout(IDS, STUDENT, TEACHER, min_fraction, seed)
        assert cut.kind == "random"
        assert cut.fraction == cut_position(len(IDS), min_fraction, seed) / len(IDS)


@given(
    st.lists(st.floats(-9, 0, width=16), min_size=len(IDS), max_size=len(IDS)),
    st.floats(0, 1),
    st.integers(1, 30),
    st.floats(0, 1),
)
def test_a_boundary_lies_beyond_the_share_and_ends_a_sentence(
    logprobs: list[float], min_fraction: float, window: int, quantile: float
) -> None:
    boundary = Boundary(EntropyCut(window_tokens=window, quantile=quantile), ReasoningSegmenter())
    first = first_position(len(IDS), min_fraction)
    position = boundary.position(IDS, np.asarray(logprobs, np.float32), STUDENT.token_bytes, first)
    if position is not None:
        assert first <= position < len(IDS)
        assert (
            STUDENT.token_bytes.decode(IDS[:position])
            .decode()
            .rstrip()
            .endswith(("sum.", "<think>"))
        )


def test_a_sentence_that_ends_inside_a_character_or_token_breaks_nothing() -> None:
    text = "<think>\n数学很好。我们继续。🙂 " * 6
    ids = np.asarray(encode("student", text), np.int32)
    logprobs = np.full(len(ids), -0.5, np.float32)
    logprobs[-12:] = -4.0
    cut = cut_rollout(ids, STUDENT, TEACHER, 0.5, 1, BOUNDARY, logprobs)
    assert text.removeprefix("<think>\n").startswith(
        cut.prefix.student_text.removeprefix("<think>\n")
    )


def test_a_rollout_without_a_whole_character_has_no_boundary() -> None:
    ids = np.asarray(encode("student", "🙃")[:3], np.int32)
    logprobs = np.array([-0.1, -0.1, -3.0], np.float32)
    cut = cut_rollout(
        ids,
        STUDENT,
        TEACHER,
        0.5,
        1,
        Boundary(EntropyCut(window_tokens=1), ReasoningSegmenter()),
        logprobs,
    )
    assert cut.kind == "random"


def test_continuations_say_how_they_were_cut(tmp_path: Path) -> None:
    lake, shard = Lake(root=str(tmp_path)), {"question_shard": "s"}
    guessing = calm()
    guessing[starts_of("18 to the sum") :] = -3.0
    plain = {
        "response_id": "r", "question_id": "q", "domain": "math", "question": "?",
        "model": "student", "model_revision": "1", "engine": "e", "engine_version": "1",
        "logprobs_mode": "raw_logprobs", "temperature": 1.0, "top_p": 1.0, "max_tokens": len(IDS),
        "seed": 0, "finish_reason": "length", "token_ids": IDS.tolist(), "text": TEXT,
        "n_teacher_response_tokens": 9, "is_truncated": True, "broken_rules": [],
    }  # fmt: skip
    rollouts = [
        {**plain, "rollout_id": "calm", "logprobs": calm().tolist()},
        {**plain, "rollout_id": "guessing", "logprobs": guessing.tolist()},
    ]
    lake.write("student_rollouts", pa.Table.from_pylist(rollouts, schema=STUDENT_ROLLOUTS), shard)

    def rows(boundary: Boundary | None) -> list[dict[str, object]]:
        teacher = ScriptedEngine("teacher", lambda request: (encode("teacher", "Ok."), "stop"))
        batches = continue_rollouts(
            read_to_continue(lake, shard, with_logprobs=boundary is not None), teacher,
            STUDENT, min_cut_fraction=0.5, temperature=1.0, max_tokens=50,
            system_prompt="s", reasoning_effort="low", seed=0, boundary=boundary,
            journal=tmp_path / f"journal-{boundary is None}",
        )  # fmt: skip
        found: list[dict[str, object]] = pa.Table.from_batches(
            list(batches), TEACHER_CONTINUATIONS
        ).to_pylist()
        return found

    at_random, cut = rows(None), rows(BOUNDARY)
    assert [row["cut_kind"] for row in at_random] == ["random", "random"]
    assert [row["cut_kind"] for row in cut] == ["random", "entropy"]
    assert cut[0] == at_random[0]
    assert cut[1]["prefix_text"] == "<think>\n" + " ".join(SENTENCES[:7])


def test_only_the_setting_asks_for_a_boundary() -> None:
    tiny = load_profile("tiny")
    assert boundary_of(tiny) is None
    mixed = tiny.mixed_policy_distillation.model_copy(update={"cut": EntropyCut()})
    assert boundary_of(tiny.model_copy(update={"mixed_policy_distillation": mixed})) is not None
