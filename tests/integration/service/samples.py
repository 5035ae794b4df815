"""What the tests of the service share."""

from __future__ import annotations

import grpc

from runner.rpc import status
from runner.rpc.status import DETAILS_KEY
from tests.rpc import command

Code = grpc.StatusCode
WAITS = "while [ ! -e go ]; do sleep 0.02; done"

PRINTS = command(
    "prints", "printf out; printf err >&2; echo x=1 >> $OUTPUT_FILE", exports=[{"name": "x", "scope": "global"}]
)


def refused(error: grpc.aio.AioRpcError) -> tuple[grpc.StatusCode, str, float | None]:
    """Its code, its reason, and in how many seconds it is worth trying again."""
    details = dict(error.trailing_metadata() or ()).get(DETAILS_KEY)
    assert isinstance(details, bytes)
    back = status.from_wire(error.code(), error.details() or "", details)
    return error.code(), back.message, getattr(back, "retry_after", None)
