"""What somebody is told whose submission got no answer: it may have been accepted, and must not run twice."""

from __future__ import annotations

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest

from runner.errors import UnavailableError
from runner.rpc import status
from runner.v1 import runner_pb2 as pb
from tests.acceptance.command import Command, group, shell

MAY_BE = re.compile(
    r"the node may have accepted it all the same: the same command(?: with --id (\w+))? makes no second group"
)


class Forgetful:
    """A node that takes what it is given, and does not get round to saying so."""

    def __init__(self) -> None:
        self.taken: list[pb.SubmitTaskGroupRequest] = []

    def submit(self, request: pb.SubmitTaskGroupRequest, context: grpc.ServicerContext) -> pb.SubmitTaskGroupResponse:
        self.taken.append(request)
        if len(self.taken) > 1:
            return pb.SubmitTaskGroupResponse(id=request.id or request.spare_id)
        wire = status.to_wire(UnavailableError("not now", retry_after=3600.0))
        context.set_trailing_metadata(((status.DETAILS_KEY, wire.details),))
        context.abort(wire.code, wire.message)
        raise AssertionError("an aborted call goes no further")


@pytest.fixture
def forgetful(tmp_path: Path) -> Iterator[tuple[Forgetful, str]]:
    node, address = Forgetful(), f"unix:{tmp_path}/forgetful.sock"
    server = grpc.server(ThreadPoolExecutor(1))
    submit = grpc.unary_unary_rpc_method_handler(
        node.submit, pb.SubmitTaskGroupRequest.FromString, pb.SubmitTaskGroupResponse.SerializeToString
    )
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler("runner.v1.RunnerService", {"SubmitTaskGroup": submit}),)
    )
    server.add_insecure_port(address)
    server.start()
    yield node, address
    server.stop(None).wait()


def test_the_id_by_which_it_is_one_group_is_told(runner: Command, forgetful: tuple[Forgetful, str]) -> None:
    node, address = forgetful
    file = runner.write(group([shell("a", "true")]))
    done = runner("submit", "--to", address, file)
    said = MAY_BE.search(done.stderr)
    assert said is not None, done
    assert (done.status, done.stdout, said[1]) == (1, "", node.taken[0].spare_id)
    assert done.stderr.endswith("runner: not now\n")
    assert runner("submit", "--to", address, "--id", said[1], file).stdout == f"{node.taken[0].spare_id}\n"


@pytest.mark.parametrize("where", ["option", "document"])
def test_where_it_has_an_id_no_other_is_told(runner: Command, forgetful: tuple[Forgetful, str], where: str) -> None:
    _, address = forgetful
    file = runner.write(group([shell("a", "true")], **({"id": "mine"} if where == "document" else {})))
    done = runner("submit", "--to", address, *(("--id", "mine") if where == "option" else ()), file)
    said = MAY_BE.search(done.stderr)
    assert said is not None, done
    assert (done.status, said[1]) == (1, None)
