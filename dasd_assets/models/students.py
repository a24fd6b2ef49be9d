"""Further students of a profile: what the resource that holds one is called."""


def resource_of(name: str) -> str:
    """Key of the resource of a further student."""
    return f"student_model_{name}"
