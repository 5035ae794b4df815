"""Why a node does not answer: each cause in words, with what to do, over real sockets and real TLS."""

from __future__ import annotations

import datetime
import ipaddress
import os
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from runner.client import AsyncClient, Endpoint, Patience, diagnosis
from runner.client.diagnosis import Finding, find
from runner.errors import UnreachableError
from tests.conftest import Require


class Authority:
    """Signs certificates for 127.0.0.1, into files of a folder."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self.ca = self._write(f"{name}.pem", self._signed(self._name, self._key, authority=True))

    def issue(self, name: str, host: str = "127.0.0.1", days: int = 1, since: int = -2) -> tuple[str, str]:
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        certificate = self._signed(subject, key, host=host, days=days, since=since)
        return self._write(f"{name}.pem", certificate), self._write(f"{name}.key", private)

    def _signed(
        self,
        subject: x509.Name,
        key: ec.EllipticCurvePrivateKey,
        *,
        host: str = "127.0.0.1",
        days: int = 1,
        since: int = -2,
        authority: bool = False,
    ) -> bytes:
        now = datetime.datetime.now(datetime.UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now + datetime.timedelta(days=since))
            .not_valid_after(now + datetime.timedelta(days=days))
            .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        )
        if not authority:
            names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(host))])
            builder = builder.add_extension(names, critical=False)
        signed = builder.sign(self._key, hashes.SHA256())
        return signed.public_bytes(serialization.Encoding.PEM)

    def _write(self, name: str, data: bytes) -> str:
        path = self._folder / name
        path.write_bytes(data)
        return str(path)


Talk = Callable[[socket.socket], None]


@contextmanager
def answering(talk: Talk) -> Iterator[str]:
    """Somebody who listens, and does `talk` with each who comes; the target."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    line, _ = listener.accept()
                except OSError:
                    return
                with line:
                    try:
                        talk(line)
                    except OSError:
                        continue

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"127.0.0.1:{listener.getsockname()[1]}"
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


def speaks_tls(certificate: tuple[str, str], client_ca: str | None = None) -> Talk:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    context.set_alpn_protocols(["h2"])
    if client_ca is not None:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(client_ca)

    def talk(line: socket.socket) -> None:
        with context.wrap_socket(line, server_side=True) as secured:
            secured.sendall(b"settings")
            secured.recv(1)

    return talk


def found(endpoint: Endpoint) -> Finding:
    finding = find(endpoint)
    assert finding is not None
    return finding


@pytest.fixture
def ours(tmp_path: Path) -> Authority:
    return Authority(tmp_path, "ours")


def test_nothing_is_wrong(ours: Authority) -> None:
    with answering(speaks_tls(ours.issue("node"))) as target:
        assert find(Endpoint(target=target, ca=ours.ca)) is None


def test_certificates_that_are_not_trusted(ours: Authority, tmp_path: Path) -> None:
    theirs = Authority(tmp_path, "theirs")
    with answering(speaks_tls(theirs.issue("node"))) as target:
        finding = found(Endpoint(target=target, ca=ours.ca))
        assert finding.final
        assert finding.text.startswith("its certificate is not trusted: ")
        assert "is the ca the right one" in finding.text
    with answering(speaks_tls(ours.issue("elsewhere", host="10.0.0.9"))) as target:
        told = found(Endpoint(target=target, ca=ours.ca)).text
        assert "IP address mismatch" in told
        assert ".;" not in told  # a sentence of OpenSSL in the middle of ours
    with answering(speaks_tls(ours.issue("old", days=-1))) as target:
        assert "certificate has expired" in found(Endpoint(target=target, ca=ours.ca)).text


def test_a_certificate_that_it_wants_and_one_that_it_refuses(ours: Authority, tmp_path: Path) -> None:
    theirs = Authority(tmp_path, "theirs")
    certificate, key = theirs.issue("ada")
    with answering(speaks_tls(ours.issue("node"), client_ca=ours.ca)) as target:
        finding = found(Endpoint(target=target, ca=ours.ca))
        assert (finding.final, "it wants a certificate" in finding.text) == (True, True)
        finding = found(Endpoint(target=target, ca=ours.ca, certificate=certificate, key=key))
        assert (finding.final, "it refuses this certificate" in finding.text) == (True, True)
        certificate, key = ours.issue("old", days=-1)
        old = Endpoint(target=target, ca=ours.ca, certificate=certificate, key=key)
        assert (found(old).final, found(old).text) == (
            True,
            f"the certificate {certificate} has expired on {datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=1):%Y-%m-%d}: get a new one",
        )
        certificate, later = ours.issue("early", days=9, since=1)
        early = Endpoint(target=target, ca=ours.ca, certificate=certificate, key=later)
        assert (found(early).final, "is the clock of this machine right" in found(early).text) == (False, True)
        wrong = Endpoint(target=target, ca=ours.ca, certificate=theirs.issue("eve")[0], key=key)
        assert "is not the key of" in found(wrong).text


def test_the_wrong_kind_of_talk(ours: Authority) -> None:
    def plain(line: socket.socket) -> None:
        line.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        line.recv(1)

    with answering(plain) as target:
        finding = found(Endpoint(target=target, ca=ours.ca))
        assert (finding.final, "it does not speak TLS there" in finding.text) == (True, True)
        assert find(Endpoint(target=target)) is None
    with answering(speaks_tls(ours.issue("node"))) as target:
        finding = found(Endpoint(target=target))
        assert (finding.final, "it speaks TLS there" in finding.text) == (True, True)


def test_nobody_is_there(tmp_path: Path) -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        refused = found(Endpoint(target=f"127.0.0.1:{bound.getsockname()[1]}"))
    assert (refused.final, "the connection is refused" in refused.text) == (False, True)
    path = tmp_path / "s"
    assert "there is no such socket; start a node" in found(Endpoint(target=f"unix:{path}")).text
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    assert "nobody listens on this socket any more" in found(Endpoint(target=f"unix:{path}")).text
    assert "the name is not known" in found(Endpoint(target="no-such-host.invalid:1")).text


def test_who_closes_the_connection_at_once(ours: Authority) -> None:
    def closes(line: socket.socket) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*ours.issue("node"))
        context.set_alpn_protocols(["h2"])
        context.wrap_socket(line, server_side=True).close()

    certificate, key = ours.issue("ada")
    with answering(closes) as target:
        assert found(Endpoint(target=target, ca=ours.ca)) == Finding(
            text="it closes the connection at once; it may want a certificate: give one with its key"
        )
        assert found(Endpoint(target=target, ca=ours.ca, certificate=certificate, key=key)) == Finding(
            text=f"it closes the connection at once; is {certificate} a certificate of its authority, for clients?"
        )


def test_an_address_that_leads_nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert found(Endpoint(target="[ff02::1]:1")) == Finding(
        text="it cannot be reached: Network is unreachable; is it the right address?"
    )
    monkeypatch.setattr(diagnosis, "PATIENCE_SECONDS", 0.05)
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        waiting = [socket.socket() for _ in range(3)]
        for each in waiting:
            each.setblocking(False)
            each.connect_ex(full.getsockname())
        assert found(Endpoint(target=f"127.0.0.1:{full.getsockname()[1]}")) == Finding(
            text="the connection is not answered; is it the right address, and does a firewall let it through?"
        )
        for each in waiting:
            each.close()


def test_a_socket_of_somebody_else(tmp_path: Path, require: Require) -> None:
    require("unprivileged")
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(tmp_path / "s"))
        os.chmod(tmp_path / "s", 0)
        finding = found(Endpoint(target=f"unix:{tmp_path}/s"))
    assert (finding.final, "may not use the socket" in finding.text) == (True, True)


async def test_a_client_tells_it_and_does_not_wait_where_waiting_does_not_help(ours: Authority, tmp_path: Path) -> None:
    theirs = Authority(tmp_path, "theirs")
    with answering(speaks_tls(theirs.issue("node"))) as target:
        endpoint = Endpoint(target=target, ca=ours.ca)
        async with AsyncClient(endpoint, patience=Patience(call=3600)) as client:
            with pytest.raises(UnreachableError, match="does not answer: its certificate is not trusted"):
                await client.describe()
