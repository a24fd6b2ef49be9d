"""Whether a profile can do without what its imported answers do not bring along."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dasd_assets.profile.divergence_sampling import WITHOUT_TEACHER, NoWeights

if TYPE_CHECKING:
    from dasd_assets.profile import Profile


def check_answers(profile: Profile) -> None:
    """Refuse what cannot be known, by name.

    Raises:
        ValueError: no teacher and nothing imported; an unknown temperature; tokens that nobody can
            read; a selection by the teacher's probability where nobody knows it.
    """
    if profile.teacher is None and not profile.imports:
        raise ValueError(
            "teacher is null, and no layout of questions.layouts has `answers`: there is nobody to "
            "answer a question (`dasd docs bring-your-own-answers`)"
        )
    known = profile.teacher_responses.temperatures
    for name, answers in profile.imports.items():
        where = f"questions.layouts.{name}.answers"
        if unknown := sorted(set(answers.temperatures) - set(known)):
            raise ValueError(
                f"{where}.temperatures names {', '.join(unknown)}, which is none of "
                f"teacher_responses.temperatures: {', '.join(known)}"
            )
        if answers.tokens is not None and answers.model is None and profile.teacher is None:
            raise ValueError(
                f"{where} has tokens, and no model whose tokenizer could read them: set "
                f"{where}.model, or a teacher"
            )
    reason = profile.no_teacher_scores
    bare = [name for name, answers in profile.imports.items() if answers.tokens is None]
    if not bare or reason is None:
        return
    sampling = profile.divergence_sampling
    unknown_p = (
        f"the teacher's probabilities of the answers of questions.layouts.{bare[0]}, which come "
        f"without logprobs; and nobody can find them out ({reason})"
    )
    if sampling.policy not in WITHOUT_TEACHER:
        raise ValueError(
            f"divergence_sampling.policy {sampling.policy} needs {unknown_p}. Choose one of "
            f"{', '.join(WITHOUT_TEACHER)}, or set a teacher that scores"
        )
    if not isinstance(sampling.weights, NoWeights):
        raise ValueError(
            f"divergence_sampling.weights of kind {sampling.weights.kind} needs {unknown_p}. Set "
            "{kind: none}, or a teacher that scores"
        )
