"""What an asset asks of the machine it runs on: one small vocabulary for every platform.

An asset declares a `Compute`; no asset knows where it runs. On one machine the pool keeps GPUs
from being oversubscribed, on Kubernetes the same numbers become container limits.
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

GIB = 1024**3
SHARED_MEMORY = "shared-memory"
"""Name of the pod's volume at /dev/shm."""


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

    node_selector: dict[str, str] = Field(
        default_factory=dict, description="labels a Kubernetes node must have; else unused"
    )
    shared_memory_gib: float | None = Field(
        None,
        gt=0.0,
        description="/dev/shm of the container on Kubernetes, taken from memory_gib; unset: an "
        "eighth of memory_gib with more than one GPU, else the platform's 64 MiB",
    )

    @model_validator(mode="after")
    def _shared_memory_is_part_of_memory(self) -> Compute:
        if self.shared_memory_gib is not None and self.shared_memory_gib >= self.memory_gib:
            raise ValueError(
                f"shared_memory_gib ({self.shared_memory_gib:g}) is taken from memory_gib "
                f"({self.memory_gib:g}) and must be below it"
            )
        return self

    def op_tags(self) -> dict[str, Any]:
        """Tags under which dagster-k8s finds the container and the pod of the step.

        Requests equal limits, so that Kubernetes evicts nothing that keeps to its declaration.
        The GPUs of one node talk to each other through /dev/shm, which a container has 64 MiB of.
        """
        limits = {"cpu": f"{self.cpus:g}", "memory": _mebibytes(self.memory_gib)}
        if self.gpus:
            limits["nvidia.com/gpu"] = str(self.gpus)
        container: dict[str, Any] = {"resources": {"limits": limits, "requests": dict(limits)}}
        pod: dict[str, Any] = {}
        if self.node_selector:
            pod["node_selector"] = dict(self.node_selector)
        shared = self.shared_memory_gib or (self.memory_gib / 8 if self.gpus > 1 else None)
        if shared:
            in_memory = {"medium": "Memory", "size_limit": _mebibytes(shared)}
            pod["volumes"] = [{"name": SHARED_MEMORY, "empty_dir": in_memory}]
            container["volume_mounts"] = [{"name": SHARED_MEMORY, "mount_path": "/dev/shm"}]
        config: dict[str, Any] = {"container_config": container}
        if pod:
            config["pod_spec_config"] = pod
        return {"dagster-k8s/config": config}

    def metadata(self) -> dict[str, Any]:
        """The declaration as asset metadata, shown in the UI."""
        return {
            "compute/gpus": self.gpus,
            "compute/gpu_memory_gib": self.gpu_memory_gib,
            "compute/cpus": self.cpus,
            "compute/memory_gib": self.memory_gib,
        }


def _mebibytes(gib: float) -> str:
    return f"{int(gib * 1024)}Mi"
