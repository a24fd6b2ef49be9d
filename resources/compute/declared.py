"""What an asset asks of the machine it runs on: one small vocabulary for every platform.

An asset declares a `Compute`; no asset knows where it runs. On one machine the pool keeps GPUs
from being oversubscribed, on Kubernetes the same numbers become container limits, on Ray what a
step's job takes of its node.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, model_validator

from resources.section import Section

GIB = 1024**3
CPUS = "compute/cpus"
"""Metadata of an asset: cores that a step declares."""
GPUS = "compute/gpus"
"""Metadata of an asset: GPUs that a step declares."""
GPUS_HERE = "compute/gpus_here"
"""Metadata of an asset that goes over several machines: GPUs of the one the run is on."""
SHARED_MEMORY = "shared-memory"
"""Name of the pod's volume at /dev/shm."""


class Compute(Section):
    """Declared compute of one step."""

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

    @property
    def gpus_here(self) -> int:
        """GPUs of one run on the machine it is on."""
        return self.gpus

    @model_validator(mode="after")
    def _shared_memory_is_part_of_memory(self) -> Compute:
        if self.shared_memory_gib is not None and self.shared_memory_gib >= self.memory_gib:
            raise ValueError(
                f"shared_memory_gib ({self.shared_memory_gib:g}) is taken from memory_gib "
                f"({self.memory_gib:g}) and must be below it"
            )
        return self

    def op_tags(self) -> dict[str, Any]:
        """Tags under which dagster-k8s finds the step's container and pod, dagster-ray its job.

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
        job = {
            "num_cpus": self.cpus,
            "num_gpus": self.gpus,
            "memory": int(self.memory_gib * GIB),
        }
        return {"dagster-k8s/config": config, "dagster-ray/config": job}

    def metadata(self) -> dict[str, Any]:
        """The declaration as asset metadata, shown in the UI."""
        return {
            GPUS: self.gpus,
            "compute/gpu_memory_gib": self.gpu_memory_gib,
            CPUS: self.cpus,
            "compute/memory_gib": self.memory_gib,
        }


class TrainingCompute(Compute):
    """Declared compute of training, which may go over several machines."""

    hosts: dict[str, Annotated[int, Field(ge=1)]] = Field(
        default_factory=dict,
        description="machines that training goes over, with the processes of each, such as "
        "{node-0: 8, node-1: 8}: the first is the one the run is on, the others are reached by "
        "ssh; unset: this machine alone. docs/training.md",
    )

    @model_validator(mode="after")
    def _hosts_have_the_gpus(self) -> TrainingCompute:
        there = sum(self.hosts.values())
        if self.hosts and self.gpus and there != self.gpus:
            raise ValueError(f"hosts have {there} processes for gpus {self.gpus}: one GPU each")
        return self

    @property
    def gpus_here(self) -> int:
        """GPUs of the first machine, which the run is on."""
        return next(iter(self.hosts.values()), self.gpus) if self.gpus else 0

    def metadata(self) -> dict[str, Any]:
        """The declaration as asset metadata, with what of it this machine gives."""
        if not self.hosts:
            return super().metadata()
        return {
            **super().metadata(),
            GPUS_HERE: self.gpus_here,
            "compute/hosts": ", ".join(f"{host} ({n})" for host, n in self.hosts.items()),
        }


def _mebibytes(gib: float) -> str:
    return f"{int(gib * 1024)}Mi"
