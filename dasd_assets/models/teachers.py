"""Further teachers of a profile: what the resource that holds one is called."""


def resource_of(name: str) -> str:
    """Key of the resource of a further teacher."""
    return f"teacher_{name}"
