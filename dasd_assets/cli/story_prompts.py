"""The prompts of a question as the models get them, rendered by their own chat templates."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dasd_assets.answering.template_date import recorded_day
from dasd_assets.cli.story import Story
from dasd_assets.profile import Model, Profile, Teacher


def prompts(profile: Profile, story: Story, lake: Path) -> dict[str, str]:
    """Who is asked -> the prompt as text, special tokens included; none if nobody was asked.

    They are rendered now, by the models of the profile, with the date that a template of the
    teacher's (gpt-oss) printed when the question was asked.

    Args:
        lake: the lake, or the folder that is kept for its bucket.
    """
    if not story.answers:
        return {}
    asked = story.answers[0].settings
    sample = story.answers[0].sample
    cell = {name: sample[name] for name in ("temperature", "question_shard")}
    # An imported answer came with the drop: the teacher was not asked.
    teachers = _writers(profile, story) if asked["system_prompt"] is not None else []
    begun = recorded_day(lake, "teacher_responses", cell)
    effort = {"reasoning_effort": asked["reasoning_effort"]}
    asked = {**asked, "system_prompt": asked["system_prompt"] or profile.system_prompt}
    return {
        **{
            f"teacher, {teacher.path}": _rendered(
                teacher, asked, {**effort, "template_date": teacher.template_date or begun}
            )
            for teacher in teachers
        },
        f"student, {profile.base_student.path}": _rendered(profile.base_student, asked, {}),
    }


def _writers(profile: Profile, story: Story) -> list[Teacher]:
    """The teachers that wrote the answers; of several, those that are still what they were."""
    if not profile.teachers:
        return [profile.teacher] if profile.teacher else []
    from dasd_assets.graph import inference_model
    from resources.engines.model_folder import ModelFolderError

    wrote = {
        (answer.settings["model"], answer.settings["model_revision"]) for answer in story.answers
    }
    found = []
    for teacher in profile.answerers.values():
        try:
            signature = inference_model(teacher, profile.compute.teacher_inference).signature()
        except ModelFolderError:  # not on this machine
            continue
        found += [teacher] if signature in wrote else []
    return found


def _rendered(model: Model, asked: dict[str, Any], template_settings: dict[str, Any]) -> str:
    """The prompt; or, where the model's tokenizer is not on this machine, why there is none."""
    from formats.chat import chat_of
    from resources.engines.load import load_tokenizer
    from resources.engines.model_folder import ModelFolderError, inspect_model
    from resources.engines.prompts import render_chat

    try:
        found = inspect_model(model.location, model.revision, weights=False)
    except ModelFolderError as error:
        return f"(cannot be rendered here: {error})"
    tokenizer = load_tokenizer(found.path, model.format)
    messages = chat_of(asked, asked["system_prompt"])
    prompt = render_chat(tokenizer, messages, template_settings)
    return str(tokenizer.decode(list(prompt.token_ids)))
