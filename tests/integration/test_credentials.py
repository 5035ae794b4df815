"""Certificates that are replaced while a node serves."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from pathlib import Path

import grpc
import pytest
from cryptography import x509

from runner.certs import Authority, Kind
from runner.errors import UsageError
from runner.rpc.credentials import Credentials
from tests.guarded import channel, describe, serving
from tests.material import LOOPBACK, Material, now
from tests.rpc import desk

WATCH = "/runner.v1.RunnerService/WatchTaskGroup"


@pytest.fixture
def material(tmp_path: Path) -> Material:
    return Material.make(tmp_path / "certs")


async def shown(address: str) -> int:
    """The serial number of the certificate that the node shows to a connection that is made now."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    host, _, port = address.rpartition(":")
    _, writer = await asyncio.open_connection(host.strip("[]"), int(port), ssl=context)
    der = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.transport.abort()
    return x509.load_der_x509_certificate(der).serial_number


def serial(material: Material) -> int:
    return x509.load_pem_x509_certificate(material.tls.certificate.read_bytes()).serial_number


async def test_every_address_shows_the_new_certificate_and_open_connections_stay(
    material: Material, tmp_path: Path
) -> None:
    credentials = Credentials(material.tls, now().timestamp())
    listen = ("127.0.0.1:0", "127.0.0.1:0", "[::1]:0")
    async with serving(tmp_path, listen=listen, credentials=credentials, wall=now().timestamp()) as node:
        async with channel(node.addresses[0], material.client("ada")) as before:
            stream = before.unary_stream(WATCH)(b"", timeout=30)
            await stream.read()
            for _ in range(3):
                old = serial(material)
                (issued,) = (item for item in material.authority.all() if item.kind is Kind.NODE)
                material.authority.renew(issued)
                assert {await shown(address) for address in node.addresses} == {old}
                credentials.reload(material.tls, now().timestamp())
                for _ in range(2):
                    assert {await shown(address) for address in node.addresses} == {serial(material)}
            node.servicer.more.put_nowait(None)
            assert await stream.read() is not grpc.aio.EOF
            assert (await describe(before)).caller == "ada"
            stream.cancel()
        async with channel(node.addresses[2], material.client("bob")) as after:
            assert (await describe(after)).caller == "bob"


async def test_while_two_files_do_not_belong_together_the_old_ones_are_shown(
    material: Material, tmp_path: Path
) -> None:
    credentials = Credentials(material.tls, now().timestamp())
    async with serving(tmp_path, credentials=credentials, wall=now().timestamp()) as node:
        old = serial(material)
        certificate = material.tls.certificate.read_bytes()
        (issued,) = material.authority.all()
        material.authority.renew(issued)
        new = material.tls.certificate.read_bytes()
        material.tls.certificate.write_bytes(certificate)  # as between the two renames of `certs renew`
        with pytest.raises(UsageError, match=r"is not the key of .*load them again"):
            credentials.reload(material.tls, now().timestamp())
        assert await shown(node.addresses[0]) == old
        async with channel(node.addresses[0], material.client("ada")) as to:
            assert (await describe(to)).caller == "ada"
        material.tls.certificate.write_bytes(new)
        credentials.reload(material.tls, now().timestamp())
        assert await shown(node.addresses[0]) == serial(material) != old


async def test_an_authority_that_takes_the_place_of_another_decides_who_connects(
    material: Material, tmp_path: Path
) -> None:
    credentials = Credentials(material.tls, now().timestamp())
    async with serving(tmp_path, credentials=credentials, wall=now().timestamp()) as node:
        issued = material.authority.issue(Kind.CLIENT, "ada")
        certificate, key = issued.certificate.read_bytes(), issued.key.read_bytes()
        async with channel(node.addresses[0], material.credentials(certificate, key)) as to:
            assert (await describe(to)).caller == "ada"
        successor = Authority.create(material.folder, now=now(), force=True)
        successor.issue(Kind.NODE, "onprem-1", hosts=LOOPBACK, force=True)
        credentials.reload(material.tls, now().timestamp())
        async with channel(node.addresses[0], material.client("ada")) as to:
            assert (await describe(to)).caller == "ada"
        async with channel(node.addresses[0], material.credentials(certificate, key)) as to:
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await describe(to)
            assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


async def until(holds: Callable[[], bool]) -> None:
    while not holds():  # noqa: ASYNC110 - nobody tells of lines in a log
        await asyncio.sleep(0.01)


async def test_each_day_the_certificates_are_looked_at(
    material: Material, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with desk(tmp_path / "state", listen=["127.0.0.1:0"], tls=material.tls) as at:
        server = at.serving.server
        assert not caplog.records
        (issued,) = material.authority.all()
        material.authority.renew(issued, days=3)
        looking = asyncio.create_task(server.look_after(0.01))
        await until(lambda: "expires at" in caplog.text)
        assert await shown(server.addresses[0]) == serial(material)
        material.tls.key.unlink()
        await until(lambda: "cannot be read" in caplog.text)
        assert not looking.done()
        assert await shown(server.addresses[0]) == serial(material)
        looking.cancel()
