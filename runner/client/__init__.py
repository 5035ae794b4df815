"""The typed client of a node: `AsyncClient` for asyncio, `Client` for everybody else, with the same methods.

    from runner.client import Client, Endpoint

    with Client(Endpoint(target="build.example:8443", ca="ca.pem", token_file="token")) as client:
        submitted = client.submit(document)
        for happening in client.watch(submitted.id):
            ...
        print(client.result(submitted.id).status)

Both connect when they have something to say, and try again while a node is away: see `AsyncClient`.
"""

from runner.client.aio import AsyncClient as AsyncClient
from runner.client.answers import Description as Description
from runner.client.answers import Rerun as Rerun
from runner.client.answers import Submission as Submission
from runner.client.answers import Upload as Upload
from runner.client.answers import Validation as Validation
from runner.client.blocking import Client as Client
from runner.client.patience import Patience as Patience
from runner.model.endpoint import Endpoint as Endpoint
from runner.model.query import GroupFilter as GroupFilter
from runner.model.tasktype import TaskType as TaskType
from runner.model.watch import LogChunk as LogChunk
