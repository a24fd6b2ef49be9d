"""What an asset asks of the machine it runs on: one small vocabulary for every platform.

An asset declares a `Compute`; no asset knows where it runs. On one machine the pool keeps GPUs
from being oversubscribed, on Kubernetes the same numbers become container limits, on Ray what a
step's job takes of its node.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field, model_validator

from resources.compute.gang import GIB
from resources.section import Section

CPUS = "compute/cpus"
"""Metadata of an asset: cores that a step declares."""
GPUS = "compute/gpus"
"""Metadata of an asset: GPUs that a step declares."""
GPUS_HERE = "compute/gpus_here"
"""Metadata of an asset whose work is elsewhere: GPUs of the machine the run is on."""
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


def gpus_here(metadata: Mapping[str, Any]) -> int:
    """GPUs that a step of an asset holds on the machine of its run, as its metadata declares."""
    return int(metadata.get(GPUS_HERE, metadata.get(GPUS, 0)))


class Slurm(Section):
    """How training is submitted to Slurm, through submitit."""

    partition: str | None = Field(None, description="Slurm's, not the lake's")
    account: str | None = Field(None, description="that is charged")
    minutes: int = Field(
        1440,
        ge=1,
        description="time limit; a training that reaches it is queued again, and goes on",
    )
    options: dict[str, str] = Field(
        default_factory=dict,
        description="further options of sbatch, such as {qos: high, constraint: h100}",
    )
    setup: list[str] = Field(
        default_factory=list,
        description="lines of shell before the processes start, such as `module load cuda`",
    )


class TrainingCompute(Compute):
    """Declared compute of training, which may go over several machines."""

    machines: int = Field(
        1,
        ge=1,
        description="machines that training goes over, each with an even share of its processes "
        "and of gpus (Ray may place more on a node that has room for them); cpus and memory_gib "
        "are of one. With more than one, it is a job of a Ray cluster, or of Slurm "
        "(`dasd docs training`)",
    )
    restarts: int = Field(
        2, ge=0, description="over several machines: restarts after lost processes or machines"
    )
    wait_minutes: float = Field(
        10.0, ge=0.0, description="on Ray: wait for a machine to take a lost one's place"
    )
    local_folder: str | None = Field(
        None,
        description="folder on each machine's own disk that the training set is copied to, once a "
        "machine; unset: over several machines their temporary folder, else there is no copy",
    )
    slurm: Slurm | None = Field(None, description="submit training to Slurm; unset: Ray")

    @model_validator(mode="after")
    def _machines_share_the_gpus(self) -> TrainingCompute:
        if self.gpus % self.machines:
            raise ValueError(f"gpus {self.gpus} are not shared evenly by {self.machines} machines")
        return self

    @property
    def is_elsewhere(self) -> bool:
        """Whether training is handed to a cluster: the step itself then only follows it."""
        return self.machines > 1 or self.slurm is not None

    @property
    def gpus_here(self) -> int:
        """GPUs of one run on the machine it is on."""
        return 0 if self.is_elsewhere else self.gpus

    def gang(self) -> dict[str, Any]:
        """What a gang asks for, but its processes: fields of `Gang`; empty for this machine."""
        names = ("machines", "cpus", "memory_gib", "restarts", "wait_minutes")
        return {name: getattr(self, name) for name in names} if self.is_elsewhere else {}

    def op_tags(self) -> dict[str, Any]:
        """As of any step; where training is elsewhere, of the one that follows it."""
        if not self.is_elsewhere:
            return super().op_tags()
        # Nothing of a node that the gang could need.
        job = {"num_cpus": 0, "num_gpus": 0, "memory": 0}
        return {**Compute().op_tags(), "dagster-ray/config": job}

    def metadata(self) -> dict[str, Any]:
        """The declaration as asset metadata, with what of it the run's own machine gives."""
        if not self.is_elsewhere:
            return super().metadata()
        return {
            **super().metadata(),
            CPUS: Compute().cpus,
            GPUS_HERE: 0,
            "compute/machines": f"{self.machines}, each with {self.gpus // self.machines} GPU(s), "
            f"{self.cpus:g} core(s) and {self.memory_gib:g} GiB",
        }


def _mebibytes(gib: float) -> str:
    return f"{int(gib * 1024)}Mi"
