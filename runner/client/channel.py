"""The line to a node: opened from an endpoint, and what goes wrong on it as errors of the project."""

from __future__ import annotations

import grpc
from grpc import aio

from runner.errors import RunnerError, UnreachableError, UsageError
from runner.model.endpoint import Endpoint
from runner.rpc import status

LONGEST_MESSAGE_BYTES = 64 << 20
LARGEST_FILE_BYTES = 16 << 20

_LOST = frozenset(
    {
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.CANCELLED,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.INTERNAL,  # to gRPC for asyncio: nothing more of a session can be sent
    }
)
"""Without details these are no answer of a node: the line broke, or nobody answered in time."""

_OPTIONS: tuple[tuple[str, int | str], ...] = (
    ("grpc.enable_retries", 0),  # this client tries again by itself, and knows what may be repeated
    ("grpc.enable_http_proxy", 0),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 5000),
    ("grpc.max_reconnect_backoff_ms", 1000),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.max_receive_message_length", LONGEST_MESSAGE_BYTES),
    ("grpc.max_send_message_length", -1),
)


def open_channel(endpoint: Endpoint, silence: float) -> aio.Channel:
    """Nothing is connected yet. `silence` is as in `Patience`. Raises UsageError for files that cannot be read."""
    options = _options(endpoint, silence)
    if not endpoint.is_encrypted:
        return aio.insecure_channel(endpoint.target, options=options)
    return aio.secure_channel(endpoint.target, _credentials(endpoint), options=options)


def open_blocking_channel(endpoint: Endpoint, silence: float) -> grpc.Channel:
    """As `open_channel`, for threads."""
    options = _options(endpoint, silence)
    if not endpoint.is_encrypted:
        return grpc.insecure_channel(endpoint.target, options=options)
    return grpc.secure_channel(endpoint.target, _credentials(endpoint), options=options)


def _options(endpoint: Endpoint, silence: float) -> tuple[tuple[str, int | str], ...]:
    milliseconds = int(silence * 1000)
    asking = (
        ("grpc.keepalive_time_ms", milliseconds * 2 // 3),
        ("grpc.keepalive_timeout_ms", milliseconds // 3),
        # That is about what the other machine takes; a process that is stopped there would have a minute for its answer.
        ("grpc.http2.ping_timeout_ms", milliseconds // 3),
    )
    named = () if endpoint.server_name is None else (("grpc.ssl_target_name_override", endpoint.server_name),)
    return (*_OPTIONS, *asking, *named)


def _credentials(endpoint: Endpoint) -> grpc.ChannelCredentials:
    return grpc.ssl_channel_credentials(
        root_certificates=_pem(endpoint.ca),
        private_key=_pem(endpoint.key),
        certificate_chain=_pem(endpoint.certificate),
    )


def metadata(endpoint: Endpoint) -> tuple[tuple[str, str], ...]:
    """Who is asking. Raises UsageError for a file without a token."""
    token = endpoint.token
    if endpoint.token_file is not None:
        try:
            token = _read(endpoint.token_file).decode("ascii").strip()
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is no text"
            raise UsageError(
                f"the token in {endpoint.token_file} cannot be read: {reason}; expected one line of letters and digits"
            ) from error
        if not token:
            raise UsageError(f"there is no token in {endpoint.token_file}")
    if token is None:
        return ()
    if not token.isascii() or not token.isprintable() or " " in token:
        where = endpoint.token_file or f"that was given for {endpoint.target}"
        raise UsageError(f"the token {where} is none: expected one line of letters and digits")
    return (("authorization", f"Bearer {token}"),)


def error_of(error: aio.AioRpcError, endpoint: Endpoint) -> RunnerError:
    """What the node answered, or UnreachableError where it was not the node that said so."""
    details = dict(error.trailing_metadata() or ()).get(status.DETAILS_KEY)
    code = error.code()
    if details is None and code in _LOST:
        late = code is grpc.StatusCode.DEADLINE_EXCEEDED
        return UnreachableError(f"{endpoint.target} {'did not answer in time' if late else 'does not answer'}")
    return status.from_wire(code, error.details() or "", details if isinstance(details, bytes) else None)


def _pem(path: str | None) -> bytes | None:
    if path is None:
        return None
    try:
        return _read(path)
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}; expected a PEM file") from error


def _read(path: str) -> bytes:
    """Raises UsageError for what has no end, or is something else by its size; OSError."""
    with open(path, "rb") as file:
        data = file.read(LARGEST_FILE_BYTES + 1)
    if len(data) > LARGEST_FILE_BYTES:
        raise UsageError(f"{path} has more than {LARGEST_FILE_BYTES:,} bytes: it is no file of tokens or certificates")
    return data
