"""Further students of a profile: the resource that holds one, by its name."""

import dagster as dg

from resources.engines.inference import InferenceModel


def resource_of(name: str) -> str:
    """Key of the resource of a further student."""
    return f"student_model_{name}"


def student_named(context: dg.AssetExecutionContext, name: str) -> InferenceModel:
    """A further student; the asset has to require its resource."""
    model: InferenceModel = getattr(context.resources, resource_of(name))
    return model
