"""Whoever wants to be told of groups that are over is told: by real servers that fail, hang, redirect and answer garbage."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from msgspec.structs import replace

from runner.clock import SystemClock
from runner.config.service import Webhook
from runner.engine.engine import Engine
from runner.errors import UsageError
from runner.model.event import Event, Kind
from runner.model.result import Status
from runner.sealing import Sealer
from runner.simulator.executor import ScriptedExecutor
from runner.simulator.script import Script
from runner.store.base import Batch, Notice
from runner.store.sqlite import SqliteStore
from runner.webhook import signing
from runner.webhook.herald import LOOK_SECONDS, Herald, Pace
from tests.contract.store_samples import Calls, group
from tests.rpc import command, desk

pytestmark = pytest.mark.timeout(60)

KEY = bytes(range(32))
SECRET = f"whsec_{base64.b64encode(KEY).decode()}"
IMPATIENT = Pace(first=0.01, longest=0.02, tries=1000, patience=0.3)

Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Receiver:
    """An HTTP server. What it gets, it checks as anybody would who knows the secret; what it answers, `answers` says in turn, the
    last of them from then on."""

    def __init__(self, *answers: bytes | Answer) -> None:
        self.answers = list(answers) or [b"HTTP/1.1 204 No Content\r\n\r\n"]
        self.calls = 0
        self.messages: list[tuple[str, Any]] = []
        """The id and the content of each."""
        self._changed = asyncio.Condition()
        self.url = ""

    async def until(self, calls: int) -> None:
        async with self._changed:
            await self._changed.wait_for(lambda: self.calls >= calls)

    @asynccontextmanager
    async def listening(self, tls: ssl.SSLContext | None = None) -> AsyncIterator[Receiver]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=tls)
        port = server.sockets[0].getsockname()[1]
        self.url = f"{'https://localhost' if tls else 'http://127.0.0.1'}:{port}/hook?a=b"
        async with server:
            yield self
            server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            line, *lines = head.strip().split("\r\n")
            assert line == "POST /hook?a=b HTTP/1.1"
            headers = dict(line.split(": ", 1) for line in lines)
            body = await reader.readexactly(int(headers["content-length"]))
            id = headers["webhook-id"]
            signed = f"{id}.{headers['webhook-timestamp']}.".encode() + body
            wanted = base64.b64encode(hmac.new(KEY, signed, hashlib.sha256).digest()).decode()
            assert f"v1,{wanted}" in headers["webhook-signature"].split()
            assert abs(int(headers["webhook-timestamp"]) - datetime.now(UTC).timestamp()) < 30
            assert headers["content-type"] == "application/json"
            self.messages.append((id, json.loads(body)))
            answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
            if isinstance(answer, bytes):
                writer.write(answer)
                await writer.drain()
            else:
                await answer(reader, writer)
        except ConnectionError:
            pass
        finally:
            writer.close()
            async with self._changed:
                self.calls += 1
                self._changed.notify_all()


async def hangs(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()  # until the other side has had enough


async def drips(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while not reader.at_eof():
        writer.write(b"H")
        await writer.drain()
        await asyncio.sleep(0.01)


async def has_no_end(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\n")
    while not reader.at_eof():
        writer.write(b"x: y\r\n" * 10_000)
        await writer.drain()


class Place:
    """A store with groups that are over, and an engine on it."""

    def __init__(self, folder: Path, stores: type[SqliteStore] = SqliteStore) -> None:
        self.clock = SystemClock()
        self.store = stores.open(folder / "state.db", call_soon_threadsafe=Calls().call_soon)
        executor = ScriptedExecutor(self.clock, lambda id: Script())
        self.engine = Engine(
            store=self.store, clock=self.clock, dispatcher=executor, sealer=Sealer.ephemeral(), max_parallel=1
        )
        self.secret = folder / "secret"
        self.secret.write_text(f"{SECRET}\n")

    def over(self, *ids: str) -> None:
        for id in ids:
            document = b'{"name":"n","tasks":[{"name":"t","type":"os_exec"}]}'
            row = group(id, document=document, inputs=b"{}", task_count=1, labels={"a": "b"})
            self.store.accept_group(row, [Event(group=id, number=1, at=1.0, kind=Kind.GROUP_ACCEPTED)])
            ended = replace(row, status=Status.FAILED, started_at=1.5, finished_at=2.5)
            self.store.record(Batch(groups=[ended], notices=[id]))

    @asynccontextmanager
    async def telling(self, url: str | None, ca: Path | None = None, pace: Pace = IMPATIENT) -> AsyncIterator[Herald]:
        herald = Herald(lambda: Webhook(url=url, secret=self.secret if url else None, ca=ca), pace)
        running = asyncio.create_task(herald.run(self.engine, self.store, self.clock, node="n1", node_id="id1"))
        try:
            yield herald
        finally:
            running.cancel()
            await asyncio.wait([running])

    async def until_told(self) -> None:
        while self.store.next_notice() is not None:  # noqa: ASYNC110 (a store tells nobody)
            await asyncio.sleep(0.005)


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    place = Place(tmp_path)
    yield place
    place.store.close()


async def test_a_node_tells_of_its_groups_and_of_nothing_confidential(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text(SECRET)
    tasks = command(
        "t",
        "echo open=shown >> $OUTPUT_FILE; echo token=hunter2-hunter2 >> $OUTPUT_FILE; echo local=x >> $OUTPUT_FILE",
        exports=[
            {"name": "open", "scope": "global"},
            {"name": "token", "scope": "global", "confidential": True},
            {"name": "local"},
        ],
    )
    async with Receiver().listening() as receiver:
        webhook = Webhook(url=receiver.url, secret=tmp_path / "secret")
        async with desk(tmp_path / "state", webhook=webhook) as at:
            await at.submit(tasks, command("u", "exit 1"), id="g1", labels={"team": "web"})
            await receiver.until(1)
            (id, message), *_ = receiver.messages
            assert len(id) == 32
            told = message["data"]["group"]
            assert (message["type"], message["timestamp"]) == ("group.finished", told["finished_at"])
            assert message["data"]["node"] == "n1"
            assert {name: told[name] for name in ("id", "name", "status", "reason", "labels", "tasks", "outputs")} == {
                "id": "g1",
                "name": "test",
                "status": "failed",
                "reason": None,
                "labels": {"team": "web"},
                "tasks": {"success": 1, "failed": 1},
                "outputs": {"t": {"open": "shown"}},
            }
            assert told["accepted_at"] <= told["started_at"] <= told["finished_at"]
            assert "hunter2" not in json.dumps(message)
            await at.submit(command("u", "exit 1"), id="g2")
            await receiver.until(2)
        assert receiver.calls == 2
    async with desk(tmp_path / "state") as at:  # nobody is to be told any more
        await at.watched(await at.submit(command("u", "true"), id="g3"))
        assert at.serving.node.store.next_notice() is None


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 500 Oh\r\n\r\n", b"HTTP/1.1 404 Not Found\r\n\r\n", b"HTTP/1.1 301 Moved\r\nlocation: http://127.0.0.1:1/\r\n\r\n", b"",
        b"\x00\xff" * 1000 + b"\r\n\r\n", b"SSH-2.0-OpenSSH\r\n\r\n", b"HTTP/1.1 200", b"HTTP/1.1 100 Continue\r\n\r\n" * 10, hangs, drips,
        has_no_end,
    ],
)  # fmt: skip
async def test_it_is_tried_until_somebody_has_heard_it(place: Place, answer: bytes | Answer) -> None:
    place.over("g")
    good = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.0 202\r\n\r\n"
    async with Receiver(answer, answer, good).listening() as receiver, place.telling(receiver.url):
        await place.until_told()
    assert receiver.calls >= 3
    assert len({id for id, _ in receiver.messages}) == 1
    assert place.store.finished()[0].id == "g"


class SlowStore(SqliteStore):
    """On a machine that has much else to do."""

    def notices(self, until: float, limit: int = 100) -> Sequence[Notice]:
        time.sleep(IMPATIENT.longest)
        return super().notices(until, limit)


async def test_what_becomes_due_while_it_looks_is_not_left_for_a_minute(tmp_path: Path) -> None:
    place = Place(tmp_path, SlowStore)
    place.over("g")
    with closing(place.store):
        async with Receiver(b"HTTP/1.1 500 Oh\r\n\r\n").listening() as receiver, place.telling(receiver.url):
            async with asyncio.timeout(LOOK_SECONDS / 2):
                await receiver.until(5)


async def test_nobody_listens_and_then_somebody_does_in_another_life(place: Place) -> None:
    place.over("g")
    receiver = Receiver()
    async with receiver.listening():
        pass
    async with place.telling(receiver.url):
        while not place.store.notices(float("inf"))[0].tries:  # noqa: ASYNC110 (a store tells nobody)
            await asyncio.sleep(0.005)
    (before,) = place.store.notices(float("inf"))
    async with Receiver().listening() as receiver, place.telling(receiver.url):
        await place.until_told()
    assert receiver.messages[0][0] == before.message_id


async def test_dead_receivers_hold_nobody_up_and_what_is_told_is_told_once(place: Place) -> None:
    place.over(*(f"g{number}" for number in range(30)))
    async with (
        Receiver(hangs, hangs, hangs, Receiver().answers[0]).listening() as receiver,
        place.telling(receiver.url),
    ):
        await place.until_told()
    assert len({id for id, _ in receiver.messages}) == 30
    assert len(receiver.messages) == 33


async def test_it_is_given_up_after_so_many_tries(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    place.over("g")
    gone, pace = Receiver(b"HTTP/1.1 410 Gone\r\n\r\n"), replace(IMPATIENT, tries=3)
    async with gone.listening() as receiver, place.telling(receiver.url, pace=pace):
        await place.until_told()
    assert receiver.calls == 3
    assert vars(caplog.records[-1])["action"] == "webhook_lost"
    assert "the answer was 410" in caplog.messages[-1]


async def test_a_clock_that_was_set_back_makes_nobody_wait(place: Place) -> None:
    place.over("g")
    (notice,) = place.store.notices(0.0)
    place.store.postpone(replace(notice, tries=1, due=place.clock.now().wall + 86_400 * 365))
    async with Receiver().listening() as receiver, place.telling(receiver.url):
        await place.until_told()


def test_the_tries_take_a_day() -> None:
    pace = Pace()
    for chance, hours in ((0.0, 19), (0.5, 24), (1.0, 29)):
        spent = sum(pace.delay(tries, chance) for tries in range(1, pace.tries))
        assert abs(spent / 3600 - hours) < 1
    assert pace.delay(1, 0.5) == 5.0


def certified(folder: Path, name: str) -> tuple[ssl.SSLContext, Path]:
    """A server for `name`, and who vouches for it."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    (folder / "cert.pem").write_bytes(certificate.public_bytes(Encoding.PEM))
    (folder / "key.pem").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    return context, folder / "cert.pem"


@pytest.mark.parametrize(("name", "known", "problem"), [
    ("localhost", True, None),
    ("localhost", False, "its certificate is not trusted: self-signed certificate"),
    ("elsewhere", True, "its certificate is not trusted: Hostname mismatch"),
])  # fmt: skip
async def test_tls_is_verified(
    place: Place, tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str, known: bool, problem: str | None
) -> None:
    place.over("g")
    context, ca = certified(tmp_path, name)
    pace = replace(IMPATIENT, tries=2)
    async with Receiver().listening(context) as receiver, place.telling(receiver.url, ca if known else None, pace):
        await place.until_told()
    assert len(receiver.messages) == (1 if problem is None else 0)
    assert problem is None or problem in caplog.text


def test_several_secrets_sign_beside_each_other(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text(f"{SECRET}\nwhsec_{base64.b64encode(b'x' * 24).decode()}\n")
    headers = signing.headers(signing.read_secrets(file), "id", 5, b"body")
    wanted = [base64.b64encode(hmac.new(key, b"id.5.body", "sha256").digest()).decode() for key in (KEY, b"x" * 24)]
    assert headers["webhook-signature"] == f"v1,{wanted[0]} v1,{wanted[1]}"


@pytest.mark.parametrize("text", ["", "whsec_", "whsec_c2hvcnQ=", "no base64 at all!", f"{SECRET} {'A' * 4097}"])
def test_what_is_no_secret(tmp_path: Path, text: str) -> None:
    (tmp_path / "secret").write_text(text)
    with pytest.raises(UsageError, match="holds no secret for a webhook") as refused:
        signing.read_secrets(tmp_path / "secret")
    assert text in ("", signing.PREFIX) or text not in refused.value.message
