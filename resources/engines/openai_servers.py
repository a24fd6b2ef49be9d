"""Which servers there are, and that all of them have the model: before anything is spent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from resources.engines.openai_client import (
    ApiClient,
    RequestFailedError,
    RequestRefusedError,
)
from resources.engines.openai_endpoints import Endpoint
from resources.engines.protocol import EngineUnavailableError
from resources.engines.settings import OpenAiSettings

START_ATTEMPTS = 3
"""Tries before a server counts as unreachable when nothing has been asked of it yet."""

MAX_LISTED = 20
"""Models of a server that an error names."""

UNKNOWN_VERSION = "unknown"
LONGEST_VERSION = 64
"""Characters of a server's version, which every row has."""


class WrongModelError(EngineUnavailableError):
    """The server answered with another model than the one asked for."""


@dataclass(frozen=True)
class Servers:
    """What the servers that answer say.

    Attributes:
        max_model_len: tokens of the shortest context; None if none of them tells it.
        version: of vLLM; several if they differ.
        left_out: URL -> why a server is not asked.
    """

    is_vllm: bool
    max_model_len: int | None
    version: str
    left_out: Mapping[str, str]


def find_servers(client: ApiClient, settings: OpenAiSettings) -> Servers:
    """Ask every server for its models. One of several that is down is left out, and told.

    Raises:
        EngineUnavailableError: all are down, one lacks the model or does not take the key, or some
            are vLLM and some are not.
    """
    found: dict[str, dict[str, Any]] = {}
    left_out: dict[str, str] = {}
    for endpoint in client.endpoints.all:
        try:
            found[endpoint.url] = _served_model(client, endpoint, settings)
        except RequestRefusedError as error:
            raise EngineUnavailableError(f"no usable server at {endpoint.url}: {error}") from None
        except RequestFailedError as error:
            left_out[endpoint.url] = str(error)
    if not found:
        reasons = "; ".join(f"{url}: {reason}" for url, reason in left_out.items())
        raise EngineUnavailableError(f"no usable server at {reasons}")
    kinds = {url: served.get("owned_by") == "vllm" for url, served in found.items()}
    if len(set(kinds.values())) > 1:
        others = ", ".join(url for url, is_vllm in kinds.items() if not is_vllm)
        raise EngineUnavailableError(
            f"of teacher.engine.base_urls some are vLLM and some are not ({others}): they do not "
            "answer alike. Name servers of one kind"
        )
    versions = set()
    for endpoint in client.endpoints.all:
        if endpoint.url in left_out:
            client.endpoints.leave_out(endpoint, left_out[endpoint.url])
        elif kinds[endpoint.url]:
            versions.add(_version(client, endpoint))
    lengths = [served.get("max_model_len") for served in found.values()]
    known = [length for length in lengths if type(length) is int and length > 0]
    return Servers(
        is_vllm=all(kinds.values()),
        max_model_len=min(known, default=None),
        version=", ".join(sorted(versions)) or UNKNOWN_VERSION,
        left_out=left_out,
    )


def _served_model(
    client: ApiClient, endpoint: Endpoint, settings: OpenAiSettings
) -> dict[str, Any]:
    """A server's entry for the model."""
    url = f"{endpoint.url}/models"
    answer = client.get(url, endpoint, min(START_ATTEMPTS, settings.max_attempts))
    try:
        served = {entry["id"]: dict(entry) for entry in answer["data"]}
    except (KeyError, TypeError, ValueError):
        raise EngineUnavailableError(f"{url} does not list models as OpenAI's API does") from None
    if settings.served_model not in served:
        names = sorted(name for name in served if isinstance(name, str))[:MAX_LISTED]
        raise EngineUnavailableError(
            f"{endpoint.url} does not have the model {settings.served_model!r}; it has: "
            f"{client.clean(', '.join(names)) or 'none'}"
        )
    return served[settings.served_model]


def _version(client: ApiClient, endpoint: Endpoint) -> str:
    """The version that vLLM tells beside its API."""
    try:
        answer = client.get(f"{endpoint.url.removesuffix('/v1')}/version", endpoint, 1)
    except (RequestFailedError, EngineUnavailableError):
        return UNKNOWN_VERSION
    version = answer.get("version") if isinstance(answer, dict) else None
    known = isinstance(version, str) and client.clean(version) == version
    return str(version) if known and len(str(version)) <= LONGEST_VERSION else UNKNOWN_VERSION
