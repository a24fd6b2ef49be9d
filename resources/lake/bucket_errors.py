"""What an object store says when it refuses, in words that say what to do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

MISSING: Final = {"404", "NoSuchKey", "NotFound"}
"""Codes of an object that is not there."""

TAKEN: Final = {"412", "PreconditionFailed", "409", "ConditionalRequestConflict"}
"""Codes of a conditional write that found what it must not find."""

_CREDENTIALS = (
    "new ones come from the environment (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, "
    "AWS_SESSION_TOKEN) or the machine's role; then run the step again, nothing that was finished "
    "is lost"
)
_REGION = "set AWS_DEFAULT_REGION to the bucket's region"
_REASONS: Final = {
    "NoSuchBucket": "there is no such bucket. Make it, or mend the name in DASD_LAKE or in the "
    "profile's `lake`",
    "AccessDenied": "the credentials may not do this. What a lake needs is listed in "
    "`dasd docs object-store`; a bucket that is read-only for you can be read with `dasd sql`",
    "RequestTimeTooSkewed": "this machine's clock is wrong: it and the store's differ by more than "
    "the store takes. Set it (`timedatectl`, chrony or another NTP client) and run the step again",
    "ExpiredToken": f"the credentials have expired; {_CREDENTIALS}",
    "InvalidAccessKeyId": f"the store does not know these credentials; {_CREDENTIALS}",
    "SignatureDoesNotMatch": f"the secret key is not that of the access key; {_CREDENTIALS}",
    "PermanentRedirect": f"the bucket is in another region; {_REGION}",
    "AuthorizationHeaderMalformed": f"the bucket is in another region; {_REGION}",
    "SlowDown": "the store is overloaded and went on saying so; run the step again later, nothing "
    "that was finished is lost",
}  # fmt: skip
_SAME: Final = {
    "403": "AccessDenied", "AllAccessDisabled": "AccessDenied", "MethodNotAllowed": "AccessDenied",
    "ExpiredTokenException": "ExpiredToken", "TokenRefreshRequired": "ExpiredToken",
    "InvalidToken": "InvalidAccessKeyId", "301": "PermanentRedirect",
    "IllegalLocationConstraintException": "PermanentRedirect",
    "503": "SlowDown", "500": "SlowDown", "InternalError": "SlowDown",
    "ServiceUnavailable": "SlowDown", "RequestTimeout": "SlowDown",
}  # fmt: skip


class ObjectStoreError(OSError):
    """The object store, or the disk beside it, did not do it; the message says what to do."""


class AlteredObjectError(ObjectStoreError):
    """An object has another content than it was written with."""


def code_of(error: BaseException) -> str:
    """S3's code of an error, also of one that boto3 wrapped; empty where there is none."""
    response: dict[str, Any] | None = getattr(error, "response", None)
    if response is not None:
        return str(response.get("Error", {}).get("Code", ""))
    return code_of(error.__context__) if error.__context__ else ""


@contextmanager
def explaining(what: str) -> Iterator[None]:
    """Give an error of the store a message that a person can act on.

    Args:
        what: what is being done, with the object's address, as `writing s3://…`.

    Raises:
        ObjectStoreError: in place of any error of boto3.
    """
    from boto3.exceptions import Boto3Error
    from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError

    try:
        yield
    except NoCredentialsError as error:
        raise ObjectStoreError(f"{what}: there are no credentials; {_CREDENTIALS}") from error
    except (ClientError, BotoCoreError, Boto3Error) as error:
        code = code_of(error)
        if reason := _REASONS.get(_SAME.get(code, code)):
            region = _region(error)
            reason += f" ({region})" if region else ""
            raise ObjectStoreError(f"{what}: {reason}") from error
        raise ObjectStoreError(
            f"{what}: {error}. If the store or the network was away for a while, run the step "
            "again: nothing that was finished is lost"
        ) from error


def _region(error: BaseException) -> str:
    """Region that a store names when it refuses a request made for another."""
    response: dict[str, Any] = getattr(error, "response", None) or {}
    headers = response.get("ResponseMetadata", {}).get("HTTPHeaders", {})
    return headers.get("x-amz-bucket-region", "") or response.get("Error", {}).get("Region", "")
