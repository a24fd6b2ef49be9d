"""Memory of training on one GPU by an explicit formula (docs/plan.md has it).

The plan, the check of the student and `dasd doctor` compare it with the declared GPUs. GiB are
1024^3 bytes.
"""

from __future__ import annotations

from dasd_assets.profile import ModelShape
from resources.compute.declared import GIB
from training.settings import Training

PARAMETER_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}
MASTER_BYTES = 4
MOMENT_BYTES = 8
"""AdamW moves float32 weights, the masters, by two float32 moments of each."""

LAYER_ACTIVATION_BYTES = {"bfloat16": 67, "float32": 134}
"""Per token and hidden unit, of the one layer that is recomputed: measured on one layer of
Qwen3-4B, the saved tensors of a forward pass in bfloat16; float32 is taken to be twice as much."""
AUTOCAST_ACTIVATION_BYTES = 77
"""The same, measured of float32 weights under bfloat16 autocast."""
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


def layer_bytes(training: Training) -> int:
    """Activations of a whole layer, per token and hidden unit."""
    if training.dtype == "bfloat16" and not training.deepspeed_zero_stage:
        return AUTOCAST_ACTIVATION_BYTES
    return LAYER_ACTIVATION_BYTES[training.dtype]


def training_bytes(shape: ModelShape, training: Training) -> float:
    """Memory of one GPU in training: model, checkpointed activations, logits, attention mask.

    A layer's input, which is kept, is of the weights' type: float32 but under DeepSpeed. With
    `sdpa` transformers makes a mask of a byte for each two tokens of a packed sequence.
    """
    state = shape.parameters * state_bytes(training)
    tokens = training.micro_batch_size * training.max_length
    layer = layer_bytes(training) * tokens * shape.hidden_size
    unit = PARAMETER_BYTES[training.dtype] if training.deepspeed_zero_stage else MASTER_BYTES
    kept = unit * tokens * shape.hidden_size if training.gradient_checkpointing else layer
    logits = 0 if training.liger_kernel else LOGIT_BYTES * tokens * shape.vocab_size
    mask = tokens * training.max_length if "flash" not in training.attention else 0
    return state + shape.layers * kept + layer + logits + mask


def training_problem(training: Training, shape: ModelShape, gpu_memory_gib: float) -> str | None:
    """What a step needs beyond a GPU's memory, with what it is made of; None if it fits."""
    needed, memory = training_bytes(shape, training), gpu_memory_gib * GIB
    if needed <= memory:
        return None
    stage = training.deepspeed_zero_stage
    return (
        f"{needed / GIB:,.1f} GiB a GPU of {memory / GIB:,.1f} GiB: "
        f"{shape.parameters / 1e9:.2f}B parameters in {training.dtype} "
        f"{f'under ZeRO-{stage}' if stage else 'without DeepSpeed'} on {training.processes} "
        f"process(es), {training.micro_batch_size} x {training.max_length:,} tokens"
        f"{'' if training.liger_kernel else ', logits not fused (liger_kernel)'}"
    )
