"""Further students of a profile: the resource that holds one, by its name."""

from typing import Any

from resources.engines.inference import InferenceModel


def resource_of(name: str) -> str:
    """Key of the resource of a further student."""
    return f"student_model_{name}"


def student_named(resources: Any, name: str) -> InferenceModel:
    """A further student among the resources of an asset, which has to require it."""
    model: InferenceModel = getattr(resources, resource_of(name))
    return model
