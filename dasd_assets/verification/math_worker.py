"""The process that reads and compares mathematical expressions, to be killed when it hangs.

It is started by `math_workers.py`. One JSON request per line on stdin, one JSON reply per line on
stdout. Memory and, per request, processor time are limited by the kernel, so that a worker whose
starter has died does not run on.
"""

from __future__ import annotations

import json
import math
import os
import resource
import sys
from typing import Any

MEMORY_BYTES = 2 << 30
SPARE_CPU_SECONDS = 5


def main() -> None:
    """Answer requests until stdin is closed."""
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # whatever the libraries print must not stand among the replies
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    import math_verify  # noqa: F401  # it takes a second, once

    _say(replies, {"ready": True})
    for line in sys.stdin:
        request = json.loads(line)
        used = sum(resource.getrusage(resource.RUSAGE_SELF)[:2])
        most = math.ceil(used + request["seconds"]) + SPARE_CPU_SECONDS
        resource.setrlimit(resource.RLIMIT_CPU, (most, resource.RLIM_INFINITY))
        _say(replies, _compare(request["reference"], request["answer"]))


def _say(replies: Any, message: dict[str, Any]) -> None:
    replies.write(json.dumps(message) + "\n")
    replies.flush()


def _compare(reference: str, answer: str) -> dict[str, Any]:
    from math_verify import verify

    expected = _expressions(reference)
    if not expected:
        return {"verdict": "unusable_reference"}
    found = _expressions(answer)
    if not found:
        return {"verdict": "not_an_expression"}
    try:
        # The library's own time limit is a signal, which a long computation in C does not see.
        is_equal = verify(expected, found, timeout_seconds=None)
    except (Exception, RecursionError, MemoryError) as error:
        return {"verdict": "not_comparable", "detail": type(error).__name__}
    return {"verdict": "correct" if is_equal else "not_equal"}


def _expressions(text: str) -> list[Any]:
    from math_verify import parse

    try:
        return list(parse(rf"\boxed{{{text}}}", fallback_mode="no_fallback", parsing_timeout=None))
    except (Exception, RecursionError, MemoryError):
        return []


if __name__ == "__main__":
    main()
