"""Write docs/reference and docs/cli.md anew."""

from __future__ import annotations

from dasd_assets.profile import PROJECT_ROOT, Layout, Profile, Student, Teacher, load_profile
from tools.reference.assets import assets_page
from tools.reference.checks import checks_page
from tools.reference.commands import write_commands
from tools.reference.settings import setting_paths, settings_page
from tools.reference.shaped_by import shaped_by
from tools.reference.tables import tables_page

FOLDER = PROJECT_ROOT / "docs" / "reference"


def pages() -> dict[str, str]:
    """File name -> text of every page."""
    profile = _with_answers(_with_teacher(_with_student(load_profile("tiny"))))
    shaped = shaped_by(profile, setting_paths())
    return {
        "assets.md": assets_page(profile, shaped),
        "tables.md": tables_page(),
        "settings.md": settings_page(shaped),
        "checks.md": checks_page(),
    }


def _with_student(profile: Profile) -> Profile:
    """With a further student `other`, so that the assets that one brings are on the page."""
    training = profile.temperature_scheduled_learning
    other = Student(path=profile.base_student.path, training=training)
    return profile.model_copy(update={"students": {"other": other}})


def _with_teacher(profile: Profile) -> Profile:
    """With a further teacher `other`, likewise."""
    other = Teacher(path=profile.base_student.path)
    return profile.model_copy(update={"teachers": {"other": other}})


def _with_answers(profile: Profile) -> Profile:
    """With drops that bring answers along, so that the assets that take them are on the page."""
    layout = Layout.model_validate(
        {
            "question": "question", "domain": "domain", "answer": "answer",
            "answers": {"text": "text", "temperatures": {"low": {}}},
        }
    )  # fmt: skip
    questions = profile.questions.model_copy(update={"layouts": {"brought": layout}})
    return profile.model_copy(update={"questions": questions})


def main() -> None:
    """Write all pages."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, text in pages().items():
        (FOLDER / name).write_text(text, encoding="utf-8")
    write_commands()


if __name__ == "__main__":
    main()
