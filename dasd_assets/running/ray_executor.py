"""Steps as jobs of a Ray cluster, each with the CPUs, GPUs and memory that its asset declares.

dagster-ray submits the jobs. What is added: a step that no node can hold is refused, where Ray
would let it wait for ever, and a job that was killed is submitted again, where dagster-ray fails
the step; the journals spare what the killed one had finished. docs/ray.md has the rest.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
from dagster_ray.configs import RayExecutionConfig
from dagster_ray.core.executor import RayStepHandler
from pydantic import Field

from dasd_assets.dagster_internals import step_failed, steps_started_by
from resources.compute.gang import AUTOSCALING, fits, told

if TYPE_CHECKING:
    from ray.job_submission import JobSubmissionClient

PASSED_ON = ("DAGSTER_HOME", "DASD_HOME", "DASD_PROFILE", "DASD_EXECUTOR", AUTOSCALING)
"""Environment variables that steps get from the run. The rest is the nodes' own: what is passed on
stands in Ray's dashboard, where no password should."""
SECONDS_BETWEEN_HEALTH_CHECKS = 5


class RaySettings(dg.Config):
    """Configuration of the executor."""

    max_concurrent: int = Field(
        0, ge=0, description="jobs of one run at the same time; 0: what the cluster has room for"
    )
    resubmissions: int = Field(
        2, ge=0, description="how often a job that was killed is submitted again"
    )
    autoscaling: bool = Field(
        bool(os.environ.get(AUTOSCALING)),
        description="the cluster adds nodes: a step that no present node can hold waits for one; "
        f"by default whether {AUTOSCALING} is set",
    )


@dg.executor(
    name="ray",
    config_schema=RaySettings.to_config_schema().as_field(),
    requirements=dg.multiple_process_executor_requirements(),
)
def ray_executor(init_context: dg.InitExecutorContext) -> Any:
    """Steps as jobs of the Ray cluster at RAY_API_SERVER_ADDRESS."""
    from ray.job_submission import JobSubmissionClient

    settings = RaySettings.model_validate(dict(init_context.executor_config))
    passed_on = [name for name in PASSED_ON if name in os.environ]
    return steps_started_by(
        StepsAsJobs(
            JobSubmissionClient(),
            # The nodes have the environment at the same place, and `dagster` has to be found.
            [*passed_on, f"PATH={Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"],
            settings,
        ),
        settings.max_concurrent or None,
        SECONDS_BETWEEN_HEALTH_CHECKS,
    )


class StepsAsJobs(RayStepHandler):
    """dagster-ray's handler; refuses what no node can hold, submits again what was killed."""

    def __init__(
        self, client: JobSubmissionClient, env_vars: list[str], settings: RaySettings
    ) -> None:
        """Start steps through a cluster's job server."""
        super().__init__(
            client=client, env_vars=env_vars, runtime_env=None,
            num_cpus=None, num_gpus=None, memory=None, resources=None,
        )  # fmt: skip
        self._settings = settings
        self._resubmitted: dict[str, int] = {}

    def launch_step(self, step_handler_context: Any) -> Iterator[dg.DagsterEvent]:
        """Submit a step, or fail it with the reason that no node can hold it."""
        key = self._get_step_key(step_handler_context)
        asked = asked_of_node(step_handler_context.step_tags[key])
        nodes = [] if self._settings.autoscaling else self._nodes()
        if nodes and not any(fits(asked, node) for node in nodes):
            yield step_failed(
                step_handler_context.get_step_context(key), refusal(key, asked, nodes)
            )
            return
        yield from super().launch_step(step_handler_context)

    def check_step_health(self, step_handler_context: Any) -> Any:
        """Whether a step's job lives or ended by itself; a killed one is submitted again."""
        found = super().check_step_health(step_handler_context)
        key = self._get_step_key(step_handler_context)
        again = self._resubmitted.get(key, 0) + 1
        if found.is_healthy or again > self._settings.resubmissions:
            return found
        step_handler_context.instance.report_engine_event(
            f"Submitting {key} again ({again} of {self._settings.resubmissions}): "
            f"{found.unhealthy_reason}",
            step_handler_context.dagster_run,
            step_key=key,
        )
        self._resubmitted[key] = again
        list(super().launch_step(step_handler_context))
        return found._replace(is_healthy=True, unhealthy_reason=None)

    def _get_ray_job_submission_id(self, step_handler_context: Any) -> str:
        name = super()._get_ray_job_submission_id(step_handler_context)
        again = self._resubmitted.get(self._get_step_key(step_handler_context), 0)
        return f"{name}-again-{again}" if again else name

    def _nodes(self) -> list[Mapping[str, float]]:
        from ray.util.state import list_nodes

        found = list_nodes(address=self.client.get_address(), limit=10_000)
        return [node.resources_total for node in found if node.state == "ALIVE"]


def asked_of_node(tags: Mapping[str, str]) -> dict[str, float]:
    """What a step's tags ask for, under Ray's names of resources; memory in bytes."""
    config = RayExecutionConfig.from_tags(tags)
    return {
        "GPU": config.num_gpus or 0,
        "CPU": config.num_cpus or 0,
        "memory": config.memory or 0,
    }


def refusal(step: str, asked: Mapping[str, float], nodes: list[Mapping[str, float]]) -> str:
    """Why no node can hold a step, and what to change."""
    largest = max(nodes, key=lambda node: [node.get(resource, 0) for resource in asked])
    return (
        f"{step} asks for {told(asked)}; no node of the Ray cluster has that, the largest of "
        f"{len(nodes)} has {told(largest)}. Lower this `compute` section of the profile, add a "
        f"node, or set {AUTOSCALING}=1 where the cluster adds nodes by itself."
    )
