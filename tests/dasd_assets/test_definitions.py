"""The asset graph: partitions, groups, declared compute, and what a setting makes stale."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from pydantic import TypeAdapter
from support.fresh_python import printed

from dasd_assets.declaring.jobs import JOBS
from dasd_assets.graph import build_definitions, inference_model
from dasd_assets.profile import (
    EvaluationProvenance,
    Layout,
    Model,
    Profile,
    Student,
    Teacher,
    load_profile,
)
from dasd_assets.profile.divergence_sampling import DifferenceRule
from resources.compute.declared import Compute, TrainingCompute
from resources.engines.inference import InferenceModel
from resources.engines.settings import (
    EngineSettings,
    OpenAiSettings,
    TransformersSettings,
    VllmSettings,
)
from training.settings import Restart

TINY = load_profile("tiny")

LAYOUT = Layout.model_validate({"question": "q", "domain": "d", "answer": "a"})

RESTARTED_OFTEN = TINY.mixed_policy_distillation.training.model_copy(
    update={"restart": Restart(every_steps=9)}
)

GRID = {"teacher_responses", "filtered_responses", "student_scores", "sentence_provenance"}
WHOLE_PROFILE = {"stage_report", "model_release", "dataset_release"}
"""These show or contain the profile: any setting makes them stale."""

OWN_ANSWERS = {
    f"evaluation_provenance/{checkpoint}"
    for checkpoint in ("low_temperature", "high_temperature", "dasd")
}

SHARDED = {"raw_questions", "questions", "student_rollouts", "teacher_continuations"}


def assets(profile: Profile) -> dict[str, dg.AssetSpec]:
    definitions = build_definitions(profile, Path("/nowhere"))
    return {
        spec.key.to_user_string(): spec
        for asset in definitions.assets or []
        if isinstance(asset, dg.AssetsDefinition)
        for spec in asset.specs
    }


def changed(profile: Profile, section: str, **settings: Any) -> set[str]:
    """Assets whose code version differs when settings of a section are changed."""
    other = profile.model_copy(
        update={section: getattr(profile, section).model_copy(update=settings)}
    )
    before, after = assets(profile), assets(other)
    return {name for name in before if before[name].code_version != after[name].code_version}


def test_partitions() -> None:
    specs = assets(TINY)
    for name in GRID:
        partitions = specs[name].partitions_def
        assert isinstance(partitions, dg.MultiPartitionsDefinition)
        assert {d.name for d in partitions.partitions_defs} == {"temperature", "question_shard"}
    for name in SHARDED:
        assert isinstance(specs[name].partitions_def, dg.DynamicPartitionsDefinition)
    sample = specs["divergence_sample"].partitions_def
    assert sample is not None
    assert sample.get_partition_keys() == ["low", "high"]
    for name in ("low_temperature_checkpoint", "dasd_checkpoint", "stage_report"):
        assert specs[name].partitions_def is None


def test_every_asset_declares_group_owner_kind_code_version_description_and_compute() -> None:
    for name, spec in assets(TINY).items():
        assert spec.group_name, name
        assert spec.owners, name
        assert spec.kinds, name
        assert spec.code_version, name
        assert spec.description, name
        assert "compute/gpus" in spec.metadata, name


def test_groups_are_the_boxes_of_the_figure() -> None:
    boxes = {
        "models", "questions", "teacher_responses", "response_filtering", "divergence_sampling",
        "temperature_scheduled_learning", "mixed_policy_distillation", "evaluation", "release",
    }  # fmt: skip
    assert {spec.group_name for spec in assets(TINY).values()} == boxes
    for box in boxes:
        assert (Path(__file__).parents[2] / "dasd_assets" / box / "assets.py").is_file()


def test_the_papers_compute_becomes_pools_and_container_limits() -> None:
    definitions = build_definitions(load_profile("dasd-4b"), Path("/nowhere"))
    ops = {
        asset.key.to_user_string(): asset.op
        for asset in definitions.assets or []
        if isinstance(asset, dg.AssetsDefinition)
    }
    teacher = ops["teacher_responses"]
    assert teacher.pool == "teacher"
    limits = teacher.tags["dagster-k8s/config"]
    assert '"nvidia.com/gpu": "8"' in str(limits)
    assert ops["low_temperature_checkpoint"].pool == "training"
    assert ops["filtered_responses"].pool is None


@pytest.mark.parametrize(
    ("section", "settings", "expected"),
    [
        ("response_filtering", {"max_sentence_repeats": 9},
         {"filtered_responses", "mixed_policy_sample"}),
        ("teacher_responses", {"temperatures": {"low": 0.5, "high": 1.0}},
         {"sampling_temperature"}),
        ("teacher_responses", {"max_tokens": 99},
         {"teacher_responses", "teacher_continuations"}),
        ("divergence_sampling", {"rule": DifferenceRule(beta=0.2)},
         {"sentence_provenance", "divergence_sample"}),
        ("divergence_sampling", {"segmenter": "sentencex"},
         {"sentence_provenance", "divergence_sample", *OWN_ANSWERS}),
        ("evaluation", {"provenance": EvaluationProvenance(alpha=0.2)}, OWN_ANSWERS),
        ("temperature_scheduled_learning", {"epochs": 9},
         {"low_temperature_checkpoint", "high_temperature_checkpoint"}),
        ("temperature_scheduled_learning", {"max_length": 1024},
         {"low_temperature_checkpoint", "high_temperature_checkpoint",
          "low_temperature_training_set", "high_temperature_training_set"}),
        ("temperature_scheduled_learning", {"restart": Restart(every_steps=9)}, set()),
        ("mixed_policy_distillation", {"training": RESTARTED_OFTEN}, set()),
        ("questions", {"decontamination_ngram_words": 9}, {"questions"}),
        ("questions", {"near_duplicate_jaccard": None}, {"questions"}),
        ("questions", {"layouts": {"a*": LAYOUT}}, {"raw_questions"}),
    ],
)  # fmt: skip
def test_a_setting_makes_stale_what_it_shapes_and_nothing_else(
    section: str, settings: dict[str, Any], expected: set[str]
) -> None:
    assert changed(TINY, section, **settings) == expected | WHOLE_PROFILE


def with_student(**settings: Any) -> Profile:
    other = Student(path="tiny_world/models/student", **settings)
    return TINY.model_copy(update={"students": {"other": other}})


def versions(profile: Profile) -> dict[str, str | None]:
    return {name: spec.code_version for name, spec in assets(profile).items()}


def test_a_further_student_is_trained_on_the_sample_that_was_chosen_for_the_first() -> None:
    found = assets(with_student())
    assert set(found) - set(assets(TINY)) == {
        "student_model/other", "student_training_set/other", "student_checkpoint/other",
        "evaluation/other_base", "evaluation/other",
    }  # fmt: skip
    inputs = {
        name: {dep.asset_key.to_user_string() for dep in found[name].deps}
        for name in (
            "student_training_set/other", "student_checkpoint/other", "evaluation/other_base",
            "evaluation/other",
        )
    }  # fmt: skip
    assert inputs == {
        "student_training_set/other": {"student_model/other", "divergence_sample"},
        "student_checkpoint/other": {"student_model/other", "student_training_set/other"},
        "evaluation/other_base": {"student_model/other", "benchmark_questions"},
        "evaluation/other": {"student_checkpoint/other", "benchmark_questions"},
    }
    mapping = next(
        dep.partition_mapping
        for dep in found["student_training_set/other"].deps
        if dep.asset_key == dg.AssetKey("divergence_sample")
    )
    assert isinstance(mapping, dg.SpecificPartitionsPartitionMapping)
    assert mapping.partition_keys == ["low"]
    graph = build_definitions(with_student(), Path("/nowhere")).resolve_asset_graph()
    checked = {key.asset_key.to_user_string() for key in graph.asset_check_keys}
    assert checked >= {"student_checkpoint/other", "evaluation/other_base", "evaluation/other"}


def test_a_further_students_settings_make_nothing_but_its_own_stale() -> None:
    before = versions(with_student())
    another_model = versions(with_student(revision="v2"))
    longer = TINY.temperature_scheduled_learning.model_copy(update={"epochs": 9})
    another_training = versions(with_student(training=longer))
    without = versions(TINY)
    for after, stale in (
        (another_model, {"student_model/other"}),
        (another_training, {"student_checkpoint/other"}),
        (without, set()),
    ):
        different = {name for name in after if after[name] != before[name]}
        assert different == stale | WHOLE_PROFILE
    # Without training settings of its own it follows those of the first student.
    profile = with_student()
    assert changed(profile, "temperature_scheduled_learning", epochs=9) == WHOLE_PROFILE | {
        "low_temperature_checkpoint", "high_temperature_checkpoint", "student_checkpoint/other",
    }  # fmt: skip


def with_teacher(first: float | str = "all", **settings: Any) -> Profile:
    other = Teacher(path="tiny_world/models/other", **settings)
    teacher = TINY.teacher.model_copy(update={"questions": first})
    return TINY.model_copy(update={"teacher": teacher, "teachers": {"other": other}})


def test_a_further_teachers_settings_make_the_responses_stale_or_its_own_check() -> None:
    found = assets(with_teacher())
    assert set(found) - set(assets(TINY)) == {"teacher_model/other"}
    asked = {dep.asset_key.to_user_string() for dep in found["teacher_responses"].deps}
    assert asked >= {"teacher_model", "teacher_model/other"}
    before = versions(with_teacher())
    day = date(2026, 1, 2)
    for after, stale in (
        (versions(TINY), {"teacher_responses"}),
        (versions(with_teacher(revision="v2")), {"teacher_model/other"}),
        (versions(with_teacher(questions=0.5)), {"teacher_responses"}),
        (versions(with_teacher(0.5, questions=0.5)), {"teacher_responses"}),
        (versions(with_teacher(template_date=day)), {"teacher_responses", "teacher_model/other"}),
    ):
        different = {name for name in after if after[name] != before[name]}
        assert different == stale | WHOLE_PROFILE


def test_a_profile_that_says_nothing_of_several_teachers_is_what_it_was() -> None:
    assert "teachers" not in TINY.model_dump()
    assert "questions" not in TINY.model_dump()["teacher"]
    assert TINY.answerers_per_question == with_teacher(0.25, questions=0.75).answerers_per_question
    assert with_teacher(questions=0.25).answerers_per_question == 1.25


def test_a_teacher_that_cannot_score_leaves_the_checkpoints_own_answers_out() -> None:
    server = {"base_url": "http://127.0.0.1:8000/v1", "served_model": "m"}
    for endpoint, n_assets, why in (("completions", 6, None), ("chat", 0, "cannot score")):
        engine = OpenAiSettings(endpoint=endpoint, **server)
        teacher = TINY.teacher.model_copy(update={"engine": engine})
        profile = TINY.model_copy(update={"teacher": teacher})
        found = assets(profile)
        names = [name for name in found if name.startswith(("evaluation_t", "evaluation_p"))]
        assert len(names) == n_assets
        assert (why or "None") in str(profile.no_evaluation_provenance)


@pytest.mark.parametrize(
    "engine",
    [
        TransformersSettings(),
        VllmSettings(),
        OpenAiSettings(base_url="http://127.0.0.1:8000/v1", served_model="m"),
    ],
    ids=lambda engine: engine.kind,
)
def test_every_engine_passes_through_dagsters_configuration(engine: EngineSettings) -> None:
    model = Model(path="tiny_world/models/teacher", engine=engine)
    found = []

    @dg.asset
    def settings(teacher: InferenceModel) -> None:
        found.append(TypeAdapter(EngineSettings).validate_python(teacher.engine))

    dg.materialize([settings], resources={"teacher": inference_model(model, Compute())})
    assert found == [engine]


def test_the_step_of_a_training_elsewhere_only_follows_it() -> None:
    training = TrainingCompute(gpus=16, machines=2, cpus=64, memory_gib=512)
    tags = training.op_tags()
    nothing = {"num_cpus": 0, "num_gpus": 0, "memory": 0}  # else the gang could wait for it
    assert tags["dagster-ray/config"] == nothing
    assert "nvidia.com/gpu" not in str(tags["dagster-k8s/config"])
    temperature = TINY.temperature_scheduled_learning.model_copy(update={"processes": 16})
    compute = TINY.compute.model_copy(update={"training": training})
    profile = TINY.model_copy(
        update={"compute": compute, "temperature_scheduled_learning": temperature}
    )
    trainer = (build_definitions(profile, Path("/nowhere")).resources or {})["trainer"]
    assert trainer.gang == {
        "machines": 2, "cpus": 64.0, "memory_gib": 512.0, "restarts": 2, "wait_minutes": 10.0,
    }  # fmt: skip
    assert (trainer.gpus, trainer.slurm, trainer.local_folder) == (16, {}, "")


def test_definitions_load_no_model_library() -> None:
    program = (
        "import sys, dasd_assets.definitions\n"
        "heavy = {'torch', 'transformers', 'vllm', 'deepspeed', 'matplotlib'} & set(sys.modules)\n"
        "print(sorted(heavy))"
    )
    assert printed(program) == "[]"


def test_without_stage_3_stage_2_is_evaluated_and_released() -> None:
    without = TINY.model_copy(update={"mixed_policy_distillation": None})
    left_out = set(assets(TINY)) - set(assets(without))
    assert left_out == {
        "student_rollouts", "teacher_continuations", "mixed_policy_sample",
        "mixed_policy_training_set", "dasd_checkpoint",
        "evaluation/dasd", "evaluation_provenance/dasd", "evaluation_teacher_scores/dasd",
    }  # fmt: skip
    definitions = build_definitions(without, Path("/nowhere"))
    graph = definitions.resolve_asset_graph()
    above = {key.to_user_string() for key in graph.get(dg.AssetKey("model_release")).parent_keys}
    assert above == {
        "low_temperature_checkpoint", "high_temperature_checkpoint", "evaluation/base",
        "evaluation/low_temperature", "evaluation/high_temperature",
    }  # fmt: skip
    definitions.resolve_implicit_global_asset_job_def()


def test_the_training_sets_are_prepared_whole_and_nothing_is_trained_for_it() -> None:
    profile = TINY.model_copy(update={"students": {"further": Student(path="elsewhere")}})
    graph = build_definitions(profile, Path("/nowhere")).resolve_asset_graph()
    prepare = next(wanted for wanted in JOBS if wanted.name == "prepare_training_sets")
    of_its_own = dg.AssetSelection.groups(*prepare.groups).resolve(graph)
    assert {key.to_user_string() for key in prepare.selection.resolve(graph) - of_its_own} == {
        "low_temperature_training_set", "high_temperature_training_set",
        "student_training_set/further",
    }  # fmt: skip
    without = build_definitions(TINY, Path("/nowhere")).resolve_asset_graph()
    assert len(prepare.selection.resolve(without) - of_its_own) == 2
