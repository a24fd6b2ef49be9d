"""What an asset asks of the machine it runs on: one small vocabulary for every platform.

An asset declares a `Compute`; no asset knows where it runs. On one machine the pool keeps GPUs
from being oversubscribed, on Kubernetes the same numbers become container limits.
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

GIB = 1024**3


class Compute(BaseModel):
    """Declared compute of one step."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    gpus: int = Field(0, ge=0, description="GPUs of one run")
    gpu_memory_gib: int = Field(0, ge=0, description="memory each GPU must have")
    cpus: float = Field(1.0, gt=0.0, description="CPU cores")
    memory_gib: float = Field(2.0, gt=0.0, description="main memory")
    pool: str | None = Field(
        None, description="steps of one pool share its slots (`dagster instance concurrency`)"
    )

    def op_tags(self) -> dict[str, Any]:
        """Tags under which dagster-k8s finds the container resources of the step."""
        limits = {"cpu": f"{self.cpus:g}", "memory": f"{int(self.memory_gib * 1024)}Mi"}
        if self.gpus:
            limits["nvidia.com/gpu"] = str(self.gpus)
        return {"dagster-k8s/config": {"container_config": {"resources": {"limits": limits}}}}

    def metadata(self) -> dict[str, Any]:
        """The declaration as asset metadata, shown in the UI."""
        return {
            "compute/gpus": self.gpus,
            "compute/gpu_memory_gib": self.gpu_memory_gib,
            "compute/cpus": self.cpus,
            "compute/memory_gib": self.memory_gib,
        }
