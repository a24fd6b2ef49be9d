"""Memory of training on one GPU by an explicit formula (docs/plan.md has it).

The plan, the check of the student and `dasd doctor` compare it with the declared GPUs. GiB are
1024^3 bytes.
"""

from __future__ import annotations

from dasd_assets.profile import ModelShape
from resources.compute.declared import GIB
from training.settings import Lora, Training

PARAMETER_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}
MASTER_BYTES = 4
MOMENT_BYTES = 8
"""AdamW moves float32 weights, the masters, by two float32 moments of each."""

LAYER_ACTIVATION_BYTES = {"bfloat16": 67, "float32": 134}
"""Per token and hidden unit, of the one layer that is recomputed: measured on one layer of
Qwen3-4B, the saved tensors of a forward pass in bfloat16; float32 is taken to be twice as much."""
AUTOCAST_ACTIVATION_BYTES = 77
"""The same, measured of float32 weights under bfloat16 autocast."""
ADAPTED_ACTIVATION_BYTES = {"bfloat16": 68, "float32": 102}
"""The same with adapters of rank 16 in all linear layers, measured likewise (under DeepSpeed, where
adapters are bfloat16 too: 59). Frozen weights need no inputs for gradients of their own."""
LOGIT_BYTES = 6
"""Per token and vocabulary entry without a fused loss: in the compute type, and as float32."""


def state_bytes(training: Training) -> float:
    """Memory of one process for each parameter: weights, gradients, masters and moments.

    DeepSpeed holds weights and gradients in the compute type, and masters beside them; ZeRO-3 cuts
    all of it by the number of processes, ZeRO-2 all but the weights. Without it the weights are the
    masters and gradients are float32. Autocast then keeps a bfloat16 copy of each weight through a
    pass, and of several processes each has the gradients a second time, where they are exchanged.
    """
    unit, ranks = PARAMETER_BYTES[training.dtype], training.processes
    if not training.deepspeed_zero_stage:
        copies = unit if training.dtype == "bfloat16" else 0
        gradients = MASTER_BYTES * (2 if ranks > 1 else 1)
        return MASTER_BYTES + gradients + MOMENT_BYTES + copies
    weights = unit / ranks if training.deepspeed_zero_stage == 3 else unit
    return weights + (unit + MASTER_BYTES + MOMENT_BYTES) / ranks


def adapter_parameters(shape: ModelShape, lora: Lora) -> float:
    """Weights of the adapters of all layers: rank x (inputs + outputs) of each adapted module.

    The width of the MLP is what is left of the parameters, all embeddings taken to be one matrix,
    which is too wide where there are two. A mixture's experts are no linear layers and get none.
    A module of another name is taken to be as large as the largest.
    """
    hidden, own = shape.hidden_size, shape.heads * shape.head_dim
    shared = shape.kv_heads * shape.head_dim
    attention = 2 * hidden * (own + shared)
    of_layer = (shape.parameters - shape.vocab_size * hidden) / shape.layers - attention
    wide = 0.0 if shape.active_parameters else max(0.0, of_layer / (3 * hidden))
    widths = {
        "q_proj": hidden + own, "k_proj": hidden + shared, "v_proj": hidden + shared,
        "o_proj": own + hidden, "gate_proj": hidden + wide, "up_proj": hidden + wide,
        "down_proj": wide + hidden,
    }  # fmt: skip
    if lora.target_modules == "all-linear":
        return lora.rank * shape.layers * sum(widths.values())
    largest = max(widths.values())
    return lora.rank * shape.layers * sum(widths.get(name, largest) for name in lora.target_modules)


def trained_parameters(shape: ModelShape, training: Training) -> float:
    """Weights that the optimiser moves: all, or with LoRA those of the adapters."""
    return adapter_parameters(shape, training.lora) if training.lora else shape.parameters


def frozen_bytes(shape: ModelShape, training: Training) -> float:
    """Of the weights that LoRA leaves as they are, in the compute type; ZeRO-3 cuts them too."""
    if not training.lora:
        return 0.0
    ranks = training.processes if training.deepspeed_zero_stage == 3 else 1
    return shape.parameters * PARAMETER_BYTES[training.dtype] / ranks


def layer_bytes(training: Training) -> int:
    """Activations of a whole layer, per token and hidden unit."""
    if training.lora:
        return ADAPTED_ACTIVATION_BYTES[training.dtype]
    if training.dtype == "bfloat16" and not training.deepspeed_zero_stage:
        return AUTOCAST_ACTIVATION_BYTES
    return LAYER_ACTIVATION_BYTES[training.dtype]


def training_bytes(shape: ModelShape, training: Training, ways: int = 1) -> float:
    """Memory of one GPU in training: model, checkpointed activations, logits, attention mask.

    A layer's input, which is kept, is of the weights' type: float32 but under DeepSpeed or with
    LoRA. With `sdpa` transformers makes a mask of a byte for each two tokens of a packed sequence.

    Args:
        ways: GPUs that a sequence is cut over, each with its part of the tokens.
    """
    state = trained_parameters(shape, training) * state_bytes(training)
    state += frozen_bytes(shape, training)
    tokens = training.micro_batch_size * training.max_length
    layer = layer_bytes(training) * tokens * shape.hidden_size
    is_float32 = not training.deepspeed_zero_stage and not training.lora
    unit = MASTER_BYTES if is_float32 else PARAMETER_BYTES[training.dtype]
    kept = unit * tokens * shape.hidden_size if training.gradient_checkpointing else layer
    logits = 0 if training.liger_kernel else LOGIT_BYTES * tokens * shape.vocab_size
    mask = tokens * training.max_length if "flash" not in training.attention else 0
    return state + (shape.layers * kept + layer + logits + mask) / ways


def training_problem(training: Training, shape: ModelShape, gpu_memory_gib: float) -> str | None:
    """What a step needs beyond a GPU's memory, with what it is made of; None if it fits."""
    needed, memory = training_bytes(shape, training), gpu_memory_gib * GIB
    if needed <= memory:
        return None
    stage, lora = training.deepspeed_zero_stage, training.lora
    return (
        f"{needed / GIB:,.1f} GiB a GPU of {memory / GIB:,.1f} GiB: "
        f"{shape.parameters / 1e9:.2f}B parameters in {training.dtype} "
        f"{f'with LoRA of rank {lora.rank} ' if lora else ''}"
        f"{f'under ZeRO-{stage}' if stage else 'without DeepSpeed'} on {training.processes} "
        f"process(es), {training.micro_batch_size} x {training.max_length:,} tokens"
        f"{'' if training.liger_kernel else ', logits not fused (liger_kernel)'}"
    )
