"""Profiles: the shipped ones load, and a bad one says what is wrong and what is allowed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from dasd_assets.profile import PROFILE_FOLDER, ProfileError, load_profile, settings_version
from dasd_assets.profile.checkpoints import checkpoints_of
from dasd_assets.profile.yaml_file import parse_yaml
from resources.engines.settings import OpenAiSettings

JUDGE = {"kind": "judge", "base_url": "http://127.0.0.1:9/v1", "served_model": "m"}


def changed(tmp_path: Path, **changes: Any) -> str:
    """A copy of the tiny profile with dotted keys set; None removes a key."""
    settings = yaml.safe_load((PROFILE_FOLDER / "tiny.yaml").read_text())
    for key, value in changes.items():
        section = settings
        *path, last = key.split("__")
        for part in path:
            section = section[part]
        if value is None:
            del section[last]
        else:
            section[last] = value
    file = tmp_path / "mine.yaml"
    file.write_text(yaml.safe_dump(settings))
    return str(file)


@pytest.mark.parametrize("name", sorted(path.stem for path in PROFILE_FOLDER.glob("*.yaml")))
def test_shipped_profiles_load(name: str) -> None:
    assert load_profile(name).name == name


def test_the_paper_profile_has_the_papers_numbers() -> None:
    paper = load_profile("dasd-4b")
    training = paper.temperature_scheduled_learning
    assert paper.teacher_responses.temperatures == {"low": 0.6, "high": 1.0}
    assert paper.divergence_sampling.budget_samples == {"low": 105_000, "high": 330_000}
    assert (training.learning_rate, training.min_learning_rate) == (5e-5, 1e-5)
    assert (training.epochs, training.global_batch_size, training.max_length) == (6, 64, 65_536)
    assert (training.adam_beta1, training.adam_beta2, training.weight_decay) == (0.9, 0.95, 0.1)
    assert (training.warmup_ratio, training.max_grad_norm, training.seed) == (0.1, 1.0, 42)
    assert (training.adam_epsilon, training.dtype) == (1e-8, "bfloat16")
    assert training.gradient_checkpointing
    assert training.liger_kernel
    assert training.attention == "flash_attention_2"
    assert training.deepspeed_zero_stage == 3
    mixed = paper.mixed_policy_distillation
    assert (mixed.rollout_questions, mixed.cap_ratio, mixed.min_cut_fraction) == (50_000, 1.5, 0.5)
    assert (mixed.off_policy_samples, mixed.mask_student_prefix) == (20_000, False)
    assert mixed.training.model_dump() == training.model_dump() | {"epochs": 1}
    assert paper.evaluation.samples_per_question == 64
    assert (paper.evaluation.temperature, paper.evaluation.top_p) == (1.0, 1.0)
    assert {name: (b.format, b.max_tokens) for name, b in paper.evaluation.benchmarks.items()} == {
        "aime24": ("aime", 102_400),
        "aime25": ("aime", 102_400),
        "livecodebench_v5": ("livecodebench", 81_920),
        "livecodebench_v6": ("livecodebench", 81_920),
        "gpqa_diamond": ("gpqa", 81_920),
    }


def test_the_api_profile_differs_from_the_papers_in_the_teachers_engine_only() -> None:
    api, paper = load_profile("dasd-4b-api"), load_profile("dasd-4b")
    assert api.teacher.path == paper.teacher.path
    engine = api.teacher.engine
    assert isinstance(engine, OpenAiSettings)
    assert (engine.endpoint, engine.api_key_env) == ("completions", "TEACHER_API_KEY")
    assert engine.timeout_seconds >= 3_600
    assert api.compute.teacher_inference.gpus == 0
    apart = {"name", "description", "teacher", "compute"}
    assert api.model_dump(exclude=apart) == paper.model_dump(exclude=apart)


def test_the_third_stage_has_one_epoch_unless_the_profile_says_more(tmp_path: Path) -> None:
    settings = {"rollout_questions": 9, "off_policy_samples": 9}
    for training, epochs in (({}, 1), ({"seed": 7}, 1), ({"epochs": 2}, 2)):
        mixed = {**settings, "training": {"max_length": 512, **training}}
        profile = load_profile(changed(tmp_path, mixed_policy_distillation=mixed))
        assert profile.mixed_policy_distillation.training.epochs == epochs


def test_the_second_students_profile_differs_from_the_papers_in_that_student_only() -> None:
    both, paper = load_profile("dasd-30b-a3b"), load_profile("dasd-4b")
    assert both.student_training("qwen3_30b_a3b") == paper.temperature_scheduled_learning
    apart: dict[str, Any] = {
        "name": True, "description": True, "students": True, "plan": {"students"}
    }  # fmt: skip
    assert both.model_dump(exclude=apart) == paper.model_dump(exclude=apart)
    assert set(both.plan.students) == set(both.students) == {"qwen3_30b_a3b"}


OPENAI = {"kind": "openai", "base_url": "http://127.0.0.1:8000/v1", "served_model": "m"}


SHAPE = {
    "parameters": 9, "layers": 1, "heads": 1, "kv_heads": 1, "head_dim": 1, "hidden_size": 1,
    "vocab_size": 1,
}  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"questions__inbx": "x"}, r"questions\.inbx: unknown key\. Allowed here: decontamination"),
        ({"seed": -1}, r"seed: .*greater than or equal to 0; found -1"),
        ({"teacher": None}, "teacher: required, but missing"),
        ({"questions__inbox": ""}, r"questions\.inbox: .*at least 1 character; found ''"),
        ({"temperature_scheduled_learning__seed": 2**32}, r"seed: .*less than 4294967296"),
        ({"teacher_responses__temperatures": {"low": 1.0, "high": 0.6}},
         r"temperatures: low \(1\) is above high \(0\.6\).* Exchange them"),
        ({"teacher_responses__top_p": 1.5}, r"teacher_responses\.top_p: .*found 1\.5"),
        ({"evaluation__temperature": 0.001}, r"at least 0\.01: vLLM would .*; found 0\.001"),
        ({"divergence_sampling__policy": "best"}, "policy: .*'divergence_count'.*found 'best'"),
        ({"evaluation__benchmarks__math": {"path": "x", "max_tokens": 9, "k": 1}},
         r"evaluation\.benchmarks\.math\.k: unknown key\. Allowed here: before, files, format"),
        ({"teacher_responses__samples_per_question": {"low": 1}}, "must name the same partitions"),
        ({"divergence_sampling__budget_samples": {"low": 1}}, "must name the same partitions"),
        ({"plan": {"mean_answer_tokens": {"low": {"maths": 9}}}},
         r"plan\.mean_answer_tokens\.low: no domain 'maths'; known: math, code, science"),
        ({"plan": {"questions": {"maths": 9}}}, r"plan\.questions: no domain 'maths'; known: math"),
        ({"divergence_sampling__domain_shares": {"low": {"poetry": 1.0}}},
         r"divergence_sampling\.domain_shares\.low: no domain 'poetry'; known: math, code"),
        ({"response_filtering__verify_domains": ["poetry"]},
         r"response_filtering\.verify_domains: no domain 'poetry'; known: math, code"),
        ({"domains": {"math": "sums"}},
         r"domains\.math: .*'sums'.*'math', 'multiple_choice', 'code_tests'"),
        ({"domains": {"Law": "exact"}}, r"domains\.Law\.\[key\]: .*found 'Law'"),
        ({"domains": {"math": "none"}, "response_filtering__judge_domains": ["math"]},
         r"response_filtering\.judge_domains: answers of math cannot be judged, domains\.math has"),
        ({"domains": {"law": "exact"}, "response_filtering__judge_domains": [],
          "evaluation__benchmarks": {"aime": {"path": "x", "format": "aime", "max_tokens": 9}}},
         r"evaluation\.benchmarks\.aime \(format aime\): no domain 'math'; known: law"),
        ({"domains": {"law": JUDGE | {"prompt": "{{question}}"}}},
         r"domains\.law\.judge\.prompt: .*it needs \{\{answer\}\}"),
        ({"domains": {"law": JUDGE | {"prompt": "{{anwser}}"}}},
         r"the prompt has \{\{anwser\}\}; known: \{\{question\}\}, \{\{reference\}\}"),
        ({"domains": {"law": JUDGE | {"verdict": "(?P<right>yes)|no"}}},
         r"domains\.law\.judge\.verdict: .*no group named wrong"),
        ({"domains": {"law": JUDGE | {"k": 1}}},
         r"domains\.law\.judge\.k: unknown key\. Allowed here: .*prompt, served_model"),
        ({"domains": {"law": {"kind": "regex", "pattern": "(?P<answer>"}}},
         r"domains\.law\.regex\.pattern: .*no regular expression"),
        ({"plan": {"mean_answer_tokens": {"warm": 9}}},
         r"mean_answer_tokens names warm, which is none of .*temperatures: high, low"),
        ({"plan": {"questions": {"math": 0}}}, r"plan\.questions\.by_domain\.math: .*; found 0"),
        ({"plan": {"share_of_peak": {"training": 0.4}}},
         "share_of_peak and peak_flops_per_second belong together"),
        ({"response_filtering__max_student_tokens": 4096}, "would not fit into a sequence"),
        ({"temperature_scheduled_learning__min_learning_rate": 1.0}, "is above learning_rate"),
        ({"temperature_scheduled_learning__attention": "flash_attention_2"},
         "in batches of one sequence in bfloat16; micro_batch_size is 8, dtype float32"),
        ({"compute__training": {"gpus": 16, "machines": 3}},
         "compute.training: .*gpus 16 are not shared evenly by 3 machines"),
        ({"compute__training": {"machines": 2}},
         r"temperature_.*processes is 1; compute.training has 2 machine\(s\) and 0 GPU\(s\)"),
        ({"compute__training": {"gpus": 2, "slurm": {}}},
         r"temperature_.*processes is 1; compute.training has 1 machine\(s\) and 2 GPU\(s\)"),
        ({"temperature_scheduled_learning__learning_rate": float("inf")},
         r"learning_rate: Input should be a finite number; found inf"),
        ({"compute__data": {"memory_gib": float("nan")}}, "memory_gib: .*finite number"),
        ({"teacher__engine": {**OPENAI, "batch_size": 1}},
         r"batch_size: unknown key\. Allowed here: api_key_env"),
        ({"teacher__engine": {"kind": "vllm", "batch_size": 1}},
         r"batch_size: unknown key\. Allowed here: data_parallel_size"),
        ({"domains": {"math": {**JUDGE, "foo": 1}}},
         r"domains\.math\.judge\.foo: unknown key\. Allowed here: api_key_env"),
        ({"teacher__engine": {"batch_size": 1}},
         r"teacher\.engine\.kind: required, but missing\. One of: transformers, vllm, openai"),
        ({"domains": {"math": {"pattern": "x"}}},
         r"domains\.math\.kind: required, but missing\. One of: .*judge"),
        ({"teacher__engine": {**OPENAI, "base_url": "localhost:8000"}}, r"base_url: .*pattern"),
        ({"teacher__engine": {**OPENAI, "base_url": "http://a:secret@b/v1"}},
         r"neither user nor password(?s:(?!secret).)*$"),
        ({"teacher__engine": {**OPENAI, "max_cost": 5.0}}, "max_cost needs price_per_million"),
        ({"plan": {"teacher": {"size": 9}}}, r"plan\.teacher\.size: unknown key\. Allowed.*layers"),
        ({"students": {"big": {"path": "x", "training": {"epoch": 9}}}},
         r"students\.big\.training\.epoch: unknown key\. Allowed here: adam_beta1"),
        ({"students": {"big": {}}}, r"students\.big\.path: required, but missing"),
        ({"students": {"Big-1": {"path": "x"}}}, r"students\.Big-1\.\[key\]: .*; found 'Big-1'"),
        ({"students": {"dasd": {"path": "x"}}},
         r"students cannot be called dasd: another model or checkpoint has that name"),
        ({"students": {"big": {"path": "x"}, "big_base": {"path": "x"}}},
         "students cannot be called big_base"),
        ({"students": {"big": {"path": "x", "engine": OPENAI}}},
         r"students\.big\.engine\.kind must be transformers or vllm"),
        ({"students": {"big": {"path": "x", "training": {"max_length": 64}}}},
         r"above students\.big\.training\.max_length \(64\): such answers would not fit"),
        ({"plan": {"students": {"big": SHAPE}}},
         "plan.students names big, which is none of students: there are none"),
        ({"teachers": {"b": {"path": "x", "questions": 0.4}}, "teacher__questions": 0.7},
         r"teacher\.questions 0\.7, teachers\.b\.questions 0\.4: add up to 1\.1, there is only 1"),
        ({"teachers": {"b": {"path": "x", "questions": 0.1}}, "teacher__questions": 0.7},
         r"teacher\.questions 0\.7, teachers\.b\.questions 0\.1: add up to 0\.8, and nobody "
         r"answers the other questions\. Raise a share"),
        ({"teacher__questions": 0.5}, r"teacher\.questions 0\.5: add up to 0\.5, and nobody"),
        ({"teachers": {"b": {"path": "x", "questions": 0}}},
         r"teachers\.b\.questions\..*greater than 0; found 0"),
        ({"teachers": {"b": {"path": "x", "share": 0}}},
         r"teachers\.b\.share: unknown key\. Allowed here: engine, format, path, questions"),
        ({"teachers": {"b": {"path": "tiny_world/models/teacher"}}},
         r"teachers\.b and teacher are the same model \(tiny_world/models/teacher\)"),
        ({"teachers": {"teacher": {"path": "x"}}}, "teachers cannot be called teacher"),
    ],
)  # fmt: skip
def test_a_bad_setting_is_named_with_file_key_value_and_what_is_allowed(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    file = changed(tmp_path, **changes)
    with pytest.raises(ProfileError, match=message) as raised:
        load_profile(file)
    assert file in str(raised.value)


def test_an_unknown_profile_lists_the_shipped_ones() -> None:
    with pytest.raises(ProfileError, match=r"nope: no such profile\. Shipped profiles: dasd-1\.7b"):
        load_profile("nope")


@pytest.mark.parametrize("text", ["a: [", "just text", "\x00"])
def test_a_file_that_is_no_mapping_is_an_error(tmp_path: Path, text: str) -> None:
    file = tmp_path / "broken.yaml"
    file.write_text(text)
    with pytest.raises(ProfileError, match=r"broken\.yaml"):
        load_profile(str(file))


ALIASES = "\n".join(
    ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    + [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 12)]
)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name: a\nseed: 1\nname: b", r"the key 'name' is there a second time(?s:.)*line 3"),
        ("plan: {size: 1, size: 1}", "the key 'size' is there a second time"),
        (ALIASES, "more than 100,000 values"),
        ("a: &a [*a]", "an alias of what it stands in"),
        ("[" * 5_000, "nested too deeply"),
        ("seed: " + "9" * 5_000, "4300 digits"),
        ("date: 2026-13-45", r"month must be in 1\.\.12"),
    ],
)
def test_yaml_that_says_a_thing_twice_or_without_end_is_refused(
    tmp_path: Path, text: str, message: str
) -> None:
    file = tmp_path / "hostile.yaml"
    file.write_text(text)
    with pytest.raises(ProfileError, match=message) as raised:
        load_profile(str(file))
    assert "hostile.yaml" in str(raised.value)
    assert len(str(raised.value)) < 1_000


def test_keys_that_are_merged_in_may_be_set_again() -> None:
    assert parse_yaml("x: &x {p: 1, q: 1}\ny: {<<: *x, p: 2}")["y"] == {"p": 2, "q": 1}


def test_settings_version_changes_with_a_setting_and_only_then() -> None:
    tiny = load_profile("tiny")
    filtering = tiny.response_filtering
    assert settings_version(filtering) == settings_version(load_profile("tiny").response_filtering)
    assert settings_version(filtering) != settings_version(
        filtering.model_copy(update={"max_sentence_repeats": 99})
    )


@pytest.mark.parametrize("written", ["off", "'off'", "false", "null"])
def test_stage_3_can_be_left_out(tmp_path: Path, written: str) -> None:
    text = (PROFILE_FOLDER / "tiny.yaml").read_text(encoding="utf-8")
    before, _, after = text.partition("mixed_policy_distillation:\n")
    (tmp_path / "mine.yaml").write_text(
        f"{before}mixed_policy_distillation: {written}\n\n{after[after.index('evaluation:') :]}"
    )
    profile = load_profile(str(tmp_path / "mine.yaml"))
    assert profile.no_mixed_policy == "mixed_policy_distillation: off"
    assert list(profile.trainings) == ["temperature_scheduled_learning"]
    assert checkpoints_of(profile) == ("base", "low_temperature", "high_temperature")
    assert profile.no_release is None
    file = tmp_path / "mine.yaml"
    file.write_text(file.read_text().replace("checkpoint: best", "checkpoint: dasd"))
    with pytest.raises(ProfileError, match=r"release.checkpoint is dasd, which is not made"):
        load_profile(str(file))
