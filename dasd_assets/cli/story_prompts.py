"""The prompts of a question as the models get them, rendered by their own chat templates."""

from __future__ import annotations

from typing import Any

from dasd_assets.cli.story import Story
from dasd_assets.profile import Model, Profile


def prompts(profile: Profile, story: Story) -> dict[str, str]:
    """Who is asked -> the prompt as text, special tokens included; none if nobody was asked.

    They are rendered now, by the models of the profile: a template that holds the date, as that
    of gpt-oss, had another one when the question was asked.
    """
    if not story.answers:
        return {}
    asked = story.answers[0].settings
    effort = {"reasoning_effort": asked["reasoning_effort"]}
    # An imported answer came with the drop: the teacher was not asked.
    teacher = profile.teacher if asked["system_prompt"] is not None else None
    asked = {"question": asked["question"],
             "system_prompt": asked["system_prompt"] or profile.system_prompt}  # fmt: skip
    return {
        **({f"teacher, {teacher.path}": _rendered(teacher, asked, effort)} if teacher else {}),
        f"student, {profile.base_student.path}": _rendered(profile.base_student, asked, {}),
    }


def _rendered(model: Model, asked: dict[str, Any], template_settings: dict[str, Any]) -> str:
    """The prompt; or, where the model's tokenizer is not on this machine, why there is none."""
    from transformers import AutoTokenizer

    from formats.chat import chat
    from resources.engines.model_folder import ModelFolderError, inspect_model
    from resources.engines.prompts import render_chat

    try:
        found = inspect_model(model.location, model.revision, weights=False)
    except ModelFolderError as error:
        return f"(cannot be rendered here: {error})"
    tokenizer = AutoTokenizer.from_pretrained(found.path)
    messages = chat(asked["system_prompt"], asked["question"])
    prompt = render_chat(tokenizer, messages, template_settings)
    return str(tokenizer.decode(list(prompt.token_ids)))
