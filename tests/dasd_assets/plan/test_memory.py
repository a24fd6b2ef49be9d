"""The formulas of docs/plan.md against numbers that were reckoned by hand, and what is said."""

from __future__ import annotations

from typing import Any

import pytest

from dasd_assets.models.training_memory import (
    adapter_parameters,
    state_bytes,
    training_bytes,
)
from dasd_assets.plan.disk import checkpoint_bytes, restart_bytes, row_bytes
from dasd_assets.plan.fitting import ways
from dasd_assets.plan.memory import (
    Finding,
    cache_bytes,
    inference_findings,
    training_findings,
    weight_bytes,
)
from dasd_assets.profile import PROJECT_ROOT, ModelShape, load_profile
from resources.compute.declared import GIB, Compute
from resources.engines.settings import (
    OpenAiSettings,
    SyntheticSettings,
    TransformersSettings,
    VllmSettings,
)
from training.settings import Lora, Restart, Training

QWEN3_4B = ModelShape(
    parameters=4e9, layers=36, heads=32, kv_heads=8, head_dim=128, hidden_size=2560,
    vocab_size=151_936,
)  # fmt: skip
GPT_OSS = load_profile("dasd-4b").plan.teacher
PAPER = load_profile("dasd-4b").temperature_scheduled_learning


def compute(gpus: int = 1, gib: int = 80) -> Compute:
    return Compute(gpus=gpus, gpu_memory_gib=gib)


def said(engine: Any, shape: ModelShape | None = QWEN3_4B, **declared: int) -> list[Finding]:
    return list(inference_findings("m", engine, shape, compute(**declared), 65_536, 4_096))


def test_cache_and_weights() -> None:
    # 2 x 36 layers x 8 heads x 128 x 2 bytes; of gpt-oss only every second layer grows.
    assert cache_bytes(QWEN3_4B) == 147_456
    assert GPT_OSS is not None
    assert cache_bytes(GPT_OSS) == 2 * 18 * 8 * 64 * 2
    assert weight_bytes(QWEN3_4B, "bfloat16") == 8e9
    assert weight_bytes(QWEN3_4B, "float32") == 16e9
    assert weight_bytes(GPT_OSS, "bfloat16") == 65.2e9  # its files, which are not two bytes each


def test_training_state_is_16_bytes_a_parameter_over_the_ranks() -> None:
    tokens = 65_536
    activations = 36 * 2 * tokens * 2560 + 67 * tokens * 2560
    assert training_bytes(QWEN3_4B, PAPER) == 4e9 * 16 / 16 + activations
    alone = PAPER.model_copy(update={"processes": 1})
    assert training_bytes(QWEN3_4B, alone) == 4e9 * 16 + activations
    second = PAPER.model_copy(update={"deepspeed_zero_stage": 2})
    assert training_bytes(QWEN3_4B, second) == 4e9 * 2 + 4e9 * 14 / 16 + activations
    unfused = PAPER.model_copy(update={"liger_kernel": False})
    assert training_bytes(QWEN3_4B, unfused) - training_bytes(QWEN3_4B, PAPER) == (
        6 * tokens * 151_936
    )
    masked = PAPER.model_copy(update={"attention": "sdpa"})
    assert training_bytes(QWEN3_4B, masked) - training_bytes(QWEN3_4B, PAPER) == tokens**2
    whole = PAPER.model_copy(update={"gradient_checkpointing": False})
    assert training_bytes(QWEN3_4B, whole) == 4e9 + 37 * 67 * tokens * 2560


@pytest.mark.parametrize(
    ("settings", "n_bytes"),
    [
        ({"dtype": "float32"}, 4 + 4 + 8),
        ({"dtype": "bfloat16"}, 4 + 4 + 8 + 2),  # autocast's copies
        ({"dtype": "bfloat16", "processes": 4}, 4 + 2 * 4 + 8 + 2),  # gradients are exchanged
        ({"dtype": "float32", "processes": 4}, 4 + 2 * 4 + 8),
        ({"dtype": "float32", "deepspeed_zero_stage": 3}, 4 + 4 + 12),
        ({"dtype": "bfloat16", "deepspeed_zero_stage": 3}, 2 + 2 + 12),
        ({"dtype": "bfloat16", "processes": 4, "deepspeed_zero_stage": 2}, 2 + 14 / 4),
    ],
)
def test_bytes_of_a_parameter_in_training(settings: dict[str, Any], n_bytes: float) -> None:
    assert state_bytes(Training(**settings)) == n_bytes


def test_without_deepspeed_what_is_kept_of_a_layer_is_float32() -> None:
    alone = PAPER.model_copy(update={"processes": 1, "deepspeed_zero_stage": 0})
    kept = 36 * 4 * 65_536 * 2560 + 77 * 65_536 * 2560
    assert training_bytes(QWEN3_4B, alone) == 4e9 * 18 + kept


def test_a_float32_layer_is_twice_as_wide() -> None:
    wide = PAPER.model_copy(update={"processes": 1, "deepspeed_zero_stage": 0, "dtype": "float32"})
    kept = 36 * 4 * 65_536 * 2560 + 2 * 67 * 65_536 * 2560
    assert training_bytes(QWEN3_4B, wide) == 4e9 * 16 + kept


def with_lora(**changes: Any) -> Training:
    return PAPER.model_copy(
        update={"processes": 1, "deepspeed_zero_stage": 0, "lora": Lora(rank=16), **changes}
    )


@pytest.mark.parametrize(
    ("modules", "widths"),
    [
        # 2560 wide, 32 and 8 heads of 128; the MLP is what is left of the parameters.
        (("q_proj",), 2560 + 4096),
        (("k_proj", "v_proj"), 2 * (2560 + 1024)),
        (("o_proj", "down_proj"), 4096 + 2560 + 2560 + 9647.444),
        ("all-linear", 2 * 6656 + 2 * 3584 + 3 * (2560 + 9647.444)),
        (("another",), 2560 + 9647.444),
    ],
)
def test_adapters_are_rank_times_inputs_and_outputs(modules: Any, widths: float) -> None:
    found = adapter_parameters(QWEN3_4B, Lora(rank=16, target_modules=modules))
    assert found == pytest.approx(16 * 36 * widths, rel=1e-4)


def test_the_adapters_of_a_known_model_are_counted_within_a_twentieth() -> None:
    # Qwen3-1.7B: 2048 wide, 16 and 8 heads of 128, an MLP of 6144.
    attention = 2 * (2048 + 2048) + 2 * (2048 + 1024)
    trained = 28 * 32 * (attention + 3 * (2048 + 6144))
    profile = load_profile("dasd-1.7b")
    shape, lora = profile.plan.base_student, profile.temperature_scheduled_learning.lora
    assert shape is not None and lora is not None
    assert adapter_parameters(shape, lora) == pytest.approx(trained, rel=0.05)


def test_a_mixtures_experts_get_no_adapter() -> None:
    experts = QWEN3_4B.model_copy(update={"active_parameters": 1e9})
    dense = adapter_parameters(experts, Lora(rank=1, target_modules=("down_proj",)))
    assert dense == 36 * 2560


def test_with_adapters_weights_are_held_once_and_the_optimiser_has_the_adapters() -> None:
    adapters = adapter_parameters(QWEN3_4B, Lora(rank=16))
    tokens = 65_536
    activations = 36 * 2 * tokens * 2560 + 68 * tokens * 2560
    alone = training_bytes(QWEN3_4B, with_lora())
    assert alone == pytest.approx(4e9 * 2 + adapters * 18 + activations)
    over = with_lora(processes=4, deepspeed_zero_stage=3)
    assert training_bytes(QWEN3_4B, over) == pytest.approx(
        4e9 * 2 / 4 + adapters * 16 / 4 + activations
    )
    assert restart_bytes(QWEN3_4B, with_lora()) == pytest.approx(3 * adapters * 12)
    assert checkpoint_bytes(QWEN3_4B, with_lora()) == pytest.approx(4e9 * 2 + adapters * 4)
    small = Compute(gpus=1, gpu_memory_gib=12)
    (found,) = training_findings("t", with_lora(), QWEN3_4B, small)
    assert "in bfloat16 with LoRA of rank 16 without DeepSpeed on 1 process" in found.text


def test_ways_to_train_name_the_fewest_gpus_that_hold_them() -> None:
    found = {way.way: way for way in ways("t", PAPER, QWEN3_4B, compute(gpus=16, gib=80))}
    assert found["as set"].gpus == 16
    assert found["full fine-tuning"].gpus == 2
    assert found["full fine-tuning"].n_bytes == 4e9 * 16 / 2 + (36 * 2 + 67) * 65_536 * 2560
    assert found["LoRA of rank 16"].gpus == 1
    # At 24 GB activations of 64K tokens leave little: cut over the GPUs they do not.
    small = {way.way: way.gpus for way in ways("t", PAPER, QWEN3_4B, compute(gpus=8, gib=24))}
    assert small["full fine-tuning"] == 32
    assert small["full, each sequence cut over all (Ulysses: not offered)"] == 4
    assert small["LoRA of rank 16"] == 4
    tight = {way.way: way.gpus for way in ways("t", PAPER, QWEN3_4B, compute(gpus=8, gib=4))}
    assert tight["full fine-tuning"] is None
    assert not list(ways("t", PAPER, None, compute()))
    assert not list(ways("t", PAPER, QWEN3_4B, Compute()))


@pytest.mark.parametrize("gib", [80, 24])
def test_the_documents_table_of_what_fits_where_is_the_formulas(gib: int) -> None:
    shape = load_profile("dasd-4b").plan.base_student
    _, full, cut, lora = ways("t", PAPER, shape, compute(gpus=16, gib=gib))
    cells = [
        f"{way.gpus}, {(way.n_bytes or 0) / GIB:.1f} GiB{' each' if way.gpus != 1 else ''}"
        for way in (full, lora, cut)
    ]
    page = (PROJECT_ROOT / "docs" / "training.md").read_text(encoding="utf-8")
    assert f"| of {gib} GB | {' | '.join(cells)} |" in page


def test_restart_points_and_checkpoints() -> None:
    assert checkpoint_bytes(QWEN3_4B, PAPER) == 8e9
    assert restart_bytes(QWEN3_4B, PAPER) == 3 * 56e9  # two are kept and one is being written
    without = PAPER.model_copy(update={"deepspeed_zero_stage": 0})
    assert restart_bytes(QWEN3_4B, without) == 3 * 4e9 * 12
    assert (
        restart_bytes(QWEN3_4B, PAPER.model_copy(update={"deepspeed_zero_stage": 2}))
        == 3 * 4e9 * 16
    )
    never = PAPER.model_copy(update={"restart": Restart(every_minutes=0)})
    assert restart_bytes(QWEN3_4B, never) == 0


def test_rows_before_compression() -> None:
    # ids, logprobs, ranks and starts, four bytes each; three short columns.
    assert row_bytes("student_scores", 50, 100) == 4 * 4 * 100 + 3 * 4
    assert row_bytes("divergence_sample", 50, 100) == 4 * 100 + 4 * 50 + 8 * 4


def test_what_fits_is_not_mentioned() -> None:
    assert said(TransformersSettings(device="cuda", batch_size=4)) == []
    assert said(VllmSettings(max_num_seqs=64)) == []
    assert list(training_findings("t", PAPER, QWEN3_4B, compute(gpus=16))) == []


def test_weights_alone_beyond_a_gpu_cannot_work() -> None:
    (finding,) = said(TransformersSettings(device="cuda"), gib=7)
    assert finding.level == "problem"
    assert "weights of 7.5 GiB do not fit into one GPU of 7.0 GiB" in finding.text


def test_a_batch_at_the_cap_may_not_fit_and_at_the_mean_does_not() -> None:
    (finding,) = said(TransformersSettings(device="cuda", batch_size=16))
    assert finding.level == "warning"
    assert "batch_size 16 x 65,536 tokens x 147,456 bytes = 151.5 GiB of 80.0 GiB" in finding.text
    assert "At the cap 8 answers fit at a time" in finding.text
    (finding,) = said(TransformersSettings(device="cuda", batch_size=256))
    assert finding.level == "problem"
    assert "(at the mean of 4,096 tokens: 151.5 GiB)" in finding.text


def test_gpus_that_an_engine_does_not_use_are_named() -> None:
    (finding,) = said(TransformersSettings(device="cuda", batch_size=4), gpus=8)
    assert finding.level == "warning"
    assert "uses one GPU of the 8 declared" in finding.text


@pytest.mark.parametrize(
    ("settings", "gpus", "level", "text"),
    [
        ({"tensor_parallel_size": 4}, 2, "problem", "tensor_parallel_size 4, but 2 GPUs"),
        ({"tensor_parallel_size": 1}, 2, "warning", "tensor_parallel_size 1, but 2 GPUs"),
        ({"tensor_parallel_size": 3}, 3, "problem", "3 and 8 key-value heads: one must divide"),
        ({"max_model_len": 9_000, "max_num_seqs": 8}, 1, "warning", "max_model_len 9,000 is below"),
        # (80 x 0.2 - 7.45) GiB hold 62K tokens.
        ({"gpu_memory_utilization": 0.2}, 1, "problem", "cache of one answer of 65,536 tokens"),
        # (80 x 0.9 - 7.45) GiB hold 470K tokens: 114 answers of 4,096.
        ({"max_num_seqs": 256}, 1, "warning", "the cache holds 114 answers of 4,096 tokens"),
        (
            {"data_parallel_size": 2, "tensor_parallel_size": 4},
            4,
            "problem",
            "data_parallel_size 2 x tensor_parallel_size 4, but 4 GPUs are declared",
        ),
        ({"pipeline_parallel_size": 2}, 4, "warning", "pipeline_parallel_size 2, but 4 GPUs"),
        # A copy has its own GPUs alone, however many others there are.
        (
            {"data_parallel_size": 8, "max_num_seqs": 256},
            8,
            "warning",
            "the cache of each copy holds 114 answers of 4,096 tokens",
        ),
        (
            {"data_parallel_size": 8, "gpu_memory_utilization": 0.2},
            8,
            "problem",
            "on the 1 GPU(s) of a copy",
        ),
    ],
)
def test_vllm(settings: dict[str, Any], gpus: int, level: str, text: str) -> None:
    findings = said(VllmSettings(**{"max_num_seqs": 64, **settings}), gpus=gpus)
    assert [finding.level for finding in findings if text in finding.text] == [level]


def test_a_copy_of_gpt_oss_120b_and_a_context_of_64k_fit_into_two_gpus() -> None:
    """Reckoned by hand, and with 80e9 bytes a GPU where the plan takes 80 GiB."""
    profile = load_profile("dasd-4b")
    engine = profile.teacher.engine
    assert isinstance(engine, VllmSettings)
    assert (engine.data_parallel_size, engine.gpus_per_copy, engine.gpus) == (4, 2, 8)
    assert engine.gpus == profile.compute.teacher_inference.gpus
    weights = 65.2e9
    full = 18 * 2 * 8 * 64 * 2  # bytes a token: layers, keys and values, heads, width, bfloat16
    context = 65_536 + 4_096  # the cap and a long prompt
    window = 18 * 128 * 2 * 8 * 64 * 2  # the other layers keep 128 tokens
    cache = context * full + window
    assert context == engine.max_model_len
    memory = 2 * 80e9 * engine.gpu_memory_utilization
    assert cache < 2.6e9
    assert weights + cache < memory
    assert int((memory - weights) // cache) == 30, "answers of a copy that all run to the cap"
    assert weights / 2 + cache / 2 < 80e9 * engine.gpu_memory_utilization, "each GPU has its half"
    assert weights > 0.8 * 80e9, "one GPU alone would have next to no room for the cache"
    assert not [
        finding
        for finding in inference_findings(
            "teacher.engine", engine, GPT_OSS, profile.compute.teacher_inference, context, 17_685
        )
    ]


def test_where_nothing_is_known_nothing_is_said_for_sure() -> None:
    (finding,) = said(VllmSettings(), shape=None)
    assert (finding.level, finding.text) == (
        "hint", "memory is not checked: the size of the model is not known",
    )  # fmt: skip
    assert said(OpenAiSettings(base_url="http://x/v1", served_model="m"), shape=None) == []
    assert said(SyntheticSettings()) == []
    assert said(TransformersSettings(device="cpu"), gpus=0) == []


def test_training_that_does_not_fit() -> None:
    few = PAPER.model_copy(update={"processes": 2})
    findings = list(training_findings("t", few, QWEN3_4B, compute(gpus=16, gib=40)))
    assert [finding.level for finding in findings] == ["warning", "problem"]
    assert "processes 2, but 16 GPUs" in findings[0].text
    gib = training_bytes(QWEN3_4B, few) / GIB
    assert f"{gib:,.1f} GiB a GPU of 40.0 GiB: 4.00B parameters in bfloat16 under ZeRO-3 on 2" in (
        findings[1].text
    )
    more = Training(processes=16, deepspeed_zero_stage=3, liger_kernel=True)
    (finding,) = training_findings("t", more, QWEN3_4B, compute(gpus=8))
    assert (finding.level, finding.about) == ("problem", "t")
