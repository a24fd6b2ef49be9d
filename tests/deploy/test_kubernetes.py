"""The Kubernetes jobs dagster-k8s would submit for the paper's profile; the files of `deploy/`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dagster as dg
import pytest
import yaml
from dagster_k8s.container_context import K8sContainerContext
from dagster_k8s.job import (
    DagsterK8sJobConfig,
    construct_dagster_k8s_job,
    get_user_defined_k8s_config,
)
from kubernetes import client
from pydantic import ValidationError

from dasd_assets.graph import build_definitions, executor
from dasd_assets.profile import ProfileError, load_profile
from resources.compute.declared import Compute

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
API = client.ApiClient(client.Configuration())


def rendered(tags: Mapping[str, Any]) -> client.V1Job:
    """The job of a step, made as k8s_job_executor makes it, read back as the API reads it."""
    server = K8sContainerContext(
        run_k8s_config=get_user_defined_k8s_config({}), env_vars=["DASD_PROFILE=dasd-4b"]
    )
    # Dagster keeps what is no string as JSON.
    kept = {k: v if isinstance(v, str) else json.dumps(v) for k, v in tags.items()}
    step = K8sContainerContext(run_k8s_config=get_user_defined_k8s_config(kept))
    context = server.merge(step)
    job = construct_dagster_k8s_job(
        job_config=DagsterK8sJobConfig(
            job_image="example/dasd:1",
            dagster_home="/opt/dagster/dagster_home",
            instance_config_map="dagster-instance",
            postgres_password_secret="dasd-postgresql",
        ),
        args=["dagster", "api", "execute_step"],
        job_name="dagster-step-0",
        user_defined_k8s_config=context.run_k8s_config,
    )
    sent = API.sanitize_for_serialization(job)
    read = API.deserialize(SimpleNamespace(data=json.dumps(sent)), "V1Job")
    # A field that the API's model does not know would be lost on the way.
    assert API.sanitize_for_serialization(read) == sent
    return read


def test_every_asset_of_the_paper_asks_kubernetes_for_what_it_declares() -> None:
    compute = load_profile("dasd-4b").compute
    seen: dict[str, int] = {}
    definitions = build_definitions(load_profile("dasd-4b"), Path("/nowhere"))
    for asset in definitions.assets or []:
        if not isinstance(asset, dg.AssetsDefinition) or not asset.is_executable:
            continue
        name = asset.key.to_user_string()
        metadata = asset.metadata_by_key[asset.key]
        if "compute/gpus" not in metadata:
            continue
        [container] = rendered(asset.op.tags).spec.template.spec.containers
        limits = container.resources.limits
        assert int(limits.get("nvidia.com/gpu", 0)) == metadata["compute/gpus"], name
        assert limits["cpu"] == f"{metadata['compute/cpus']:g}", name
        assert limits["memory"] == f"{int(metadata['compute/memory_gib'] * 1024)}Mi", name
        assert container.resources.requests == limits, name
        seen[name] = metadata["compute/gpus"]
    assert len(seen) >= 20
    assert seen["teacher_responses"] == compute.teacher_inference.gpus == 8
    assert seen["student_scores"] == 1
    assert seen["low_temperature_checkpoint"] == compute.training.gpus == 16
    assert seen["filtered_responses"] == 0


def test_several_gpus_get_shared_memory_and_a_node_selector_is_passed_on() -> None:
    chosen = {"gpu.product": "H100", "zone": "a"}
    compute = Compute(gpus=8, cpus=64, memory_gib=512, node_selector=chosen)
    pod = rendered(compute.op_tags()).spec.template.spec
    assert pod.node_selector == chosen
    [volume] = pod.volumes
    assert volume.empty_dir.medium == "Memory"
    assert volume.empty_dir.size_limit == "65536Mi"
    [mount] = pod.containers[0].volume_mounts
    assert (mount.name, mount.mount_path) == (volume.name, "/dev/shm")


def test_shared_memory_can_be_set_and_one_gpu_has_the_platforms() -> None:
    one = rendered(Compute(gpus=1).op_tags()).spec.template.spec
    assert not one.volumes
    assert not one.node_selector
    chosen = rendered(Compute(memory_gib=8, shared_memory_gib=2).op_tags()).spec.template.spec
    assert chosen.volumes[0].empty_dir.size_limit == "2048Mi"


def test_shared_memory_above_the_memory_it_is_taken_from_is_refused() -> None:
    with pytest.raises(ValidationError, match=r"shared_memory_gib \(9\) is taken from memory_gib"):
        Compute(memory_gib=8, shared_memory_gib=9)


def test_steps_are_jobs_of_a_cluster_only_where_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DASD_EXECUTOR", raising=False)
    assert executor().name == "multiprocess"
    monkeypatch.setenv("DASD_EXECUTOR", "kubernetes")
    assert executor().name == "k8s"
    monkeypatch.setenv("DASD_EXECUTOR", "ray")
    assert executor().name == "ray"
    monkeypatch.setenv("DASD_EXECUTOR", "slurm")
    with pytest.raises(ProfileError, match="DASD_EXECUTOR=slurm: has to be kubernetes or ray"):
        executor()


def test_helm_values_start_this_project_and_hold_no_secret() -> None:
    text = (DEPLOY / "kubernetes" / "values.yaml").read_text(encoding="utf-8")
    values = yaml.safe_load(text)
    [server] = values["dagster-user-deployments"]["deployments"]
    assert server["dagsterApiGrpcArgs"] == ["-m", "dasd_assets.definitions"]
    assert {"name": "DASD_EXECUTOR", "value": "kubernetes"} in server["env"]
    for variable in server["env"]:
        API.deserialize(SimpleNamespace(data=json.dumps(variable)), "V1EnvVar")
    assert server["includeConfigInLaunchedRuns"]["enabled"]
    assert values["runLauncher"]["type"] == "K8sRunLauncher"
    assert values["computeLogManager"]["type"] == "S3ComputeLogManager"
    assert values["postgresql"]["enabled"] is False
    assert "postgresqlPassword" not in text


@pytest.mark.parametrize("name", ["cpu", "gpu"])
def test_what_a_dockerfile_copies_is_there_and_not_ignored(name: str) -> None:
    lines = (DEPLOY / "docker" / f"{name}.Dockerfile").read_text(encoding="utf-8").splitlines()
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert sum(line.startswith("FROM ") for line in lines) == 1
    for line in (line for line in lines if line.startswith("COPY ")):
        source = line.split()[1]
        assert (ROOT / source).exists()
        assert source.split("/")[0] not in ignored
    assert {".git", ".venv", ".dasd"} <= set(ignored)
