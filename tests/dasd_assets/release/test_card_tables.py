"""What stands in the cards' tables is text, whoever wrote it."""

from __future__ import annotations

import pytest
import yaml

from dasd_assets.profile import Profile, load_profile
from dasd_assets.release.card_tables import counts_table, stages_table
from dasd_assets.release.facts import SetSize
from dasd_assets.release.publish import profile_text
from resources.compute.declared import Slurm
from training.settings import Lora

PROFILE = load_profile("tiny")


def test_a_source_of_a_drop_cannot_link_or_load_anything() -> None:
    table = counts_table("source", {"[x](javascript:alert(1))<img src=//e>|": 1, "open-r1": 2})
    assert table.splitlines()[2:] == [
        r"| \[x\]\(javascript:alert\(1\)\)&lt;img src=//e&gt;\| | 1 |",
        "| open-r1 | 2 |",
    ]


def with_lora(*sections: str) -> Profile:
    """The tiny profile with LoRA in these sections of settings."""
    lora = Lora(rank=8, alpha=32)
    scheduled, mixed = PROFILE.temperature_scheduled_learning, PROFILE.mixed_policy
    update = {
        "temperature_scheduled_learning": scheduled.model_copy(update={"lora": lora}),
        "mixed_policy_distillation": mixed.model_copy(
            update={"training": mixed.training.model_copy(update={"lora": lora})}
        ),
    }
    return PROFILE.model_copy(update={name: update[name] for name in sections})


@pytest.mark.parametrize(
    ("sections", "adapted"),
    [
        ([], [False, False, False]),
        (["temperature_scheduled_learning"], [True, True, False]),
        (["mixed_policy_distillation"], [False, False, True]),
    ],
)
def test_the_recipe_says_which_stages_trained_adapters(
    sections: list[str], adapted: list[bool]
) -> None:
    sets = [SetSize(name, 1, 30, {"math": 1}) for name in ("one", "two", "three")]
    rows = stages_table(with_lora(*sections), sets).splitlines()[2:]
    assert [row.endswith(", merged LoRA of rank 8, alpha 32 |") for row in rows] == adapted


def test_the_profile_of_a_release_says_nothing_of_ones_own_cluster() -> None:
    slurm = Slurm(account="our-account", setup=["source /home/me/env"])
    compute = PROFILE.compute
    training = compute.training.model_copy(update={"slurm": slurm, "local_folder": "/nvme/mine"})
    update = {"compute": compute.model_copy(update={"training": training})}
    text = profile_text(PROFILE.model_copy(update=update))
    assert not [
        own for own in ("our-account", "/home/me", "/nvme", "slurm", "local_folder") if own in text
    ]
    assert Profile.model_validate(yaml.safe_load(text)) == PROFILE
