"""Where the answers to the questions of a shard come from: the teacher, or the drop itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dasd_assets.profile import ImportedAnswers, Model, Profile
from dasd_assets.questions.reading.drops import layout_of

if TYPE_CHECKING:
    from formats.model_format import ModelFormat
    from resources.engines.inference import InferenceModel


def answers_of_shard(profile: Profile, question_shard: str) -> ImportedAnswers | None:
    """The answers that the drop of a shard brings along; None: the teacher is asked."""
    layout = layout_of(question_shard, profile.questions.layouts)
    return layout.answers if layout else None


def model_of(answers: ImportedAnswers, profile: Profile) -> str | None:
    """Who wrote the answers, as the profile says; None if it does not."""
    if answers.model is not None or answers.tokens is None or profile.teacher is None:
        return answers.model
    return profile.teacher.path


def writers_format(answers: ImportedAnswers | None, teacher: InferenceModel) -> ModelFormat | None:
    """How whoever wrote the stored tokens writes; None where none are stored.

    Raises:
        ModelFolderError: the writer's folder is missing, or lacks its tokenizer.
    """
    if answers is None or (answers.tokens is not None and answers.model is None):
        return teacher.written_format()
    if answers.tokens is None or answers.model is None:
        return None
    from formats.model_format import student_format
    from resources.engines.load import load_tokenizer
    from resources.engines.model_folder import inspect_model

    folder = inspect_model(Model(path=answers.model).location, None, weights=False)
    return student_format(load_tokenizer(folder.path))


def no_one_answers(question_shard: str) -> str:
    """What to say of a shard that neither a teacher nor its drop has answers to."""
    return (
        f"question_shard {question_shard}: the profile has no teacher (`teacher: null`), and the "
        "drop brings no answers along. Give its layout in questions.layouts `answers`, or set a "
        "teacher."
    )
