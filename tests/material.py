"""Certificates for tests: good ones by the runner's own authority, bad ones by hand."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier

from runner.certs import Authority, Kind
from runner.config.service import Tls

LOOPBACK = ("localhost", "127.0.0.1", "::1")


def now() -> datetime:
    return datetime.now(UTC)


@dataclass(kw_only=True)
class Material:
    """An authority with a node `onprem-1` on loopback."""

    folder: Path

    @classmethod
    def make(cls, folder: Path) -> Material:
        Authority.create(folder, now=now()).issue(Kind.NODE, "onprem-1", hosts=LOOPBACK)
        return cls(folder=folder)

    @property
    def authority(self) -> Authority:
        return Authority(self.folder, now())

    @property
    def ca(self) -> bytes:
        return (self.folder / "ca.pem").read_bytes()

    @property
    def tls(self) -> Tls:
        node = self.folder / "nodes" / "onprem-1.pem"
        return Tls(certificate=node, key=node.with_suffix(".key"), client_ca=self.folder / "ca.pem")

    def client(self, name: str = "ada", kind: Kind = Kind.CLIENT) -> grpc.ChannelCredentials:
        """Of a caller with a certificate of this authority."""
        issued = self.authority.issue(kind, name, hosts=LOOPBACK if kind is Kind.NODE else (), force=True)
        return self.credentials(issued.certificate.read_bytes(), issued.key.read_bytes())

    def revoked(self, name: str) -> bytes:
        """The list of this authority, once a client has been issued a certificate that was taken back."""
        self.authority.issue(Kind.CLIENT, name)
        self.authority.revoke(Kind.CLIENT, name)
        return self.authority.crl_file.read_bytes()

    def stranger(self) -> grpc.ChannelCredentials:
        """Of one who has no certificate, but knows the node's authority."""
        return grpc.ssl_channel_credentials(self.ca)

    def credentials(self, certificate: bytes, key: bytes) -> grpc.ChannelCredentials:
        return grpc.ssl_channel_credentials(self.ca, key, certificate)

    def by_hand(
        self,
        names: Iterable[x509.GeneralName],
        *,
        begin: timedelta = timedelta(days=-2),
        end: timedelta = timedelta(days=30),
        purposes: tuple[ObjectIdentifier, ...] = (ExtendedKeyUsageOID.CLIENT_AUTH,),
        ca: bool = False,
    ) -> tuple[bytes, bytes]:
        """A certificate of this authority that `runner certs` would not issue, and its key."""
        signer = serialization.load_pem_private_key((self.folder / "ca.key").read_bytes(), None)
        assert isinstance(signer, ec.EllipticCurvePrivateKey)
        key = ec.generate_private_key(ec.SECP256R1())
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "by hand")]))
            .issuer_name(x509.load_pem_x509_certificate(self.ca).subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now() + begin)
            .not_valid_after(now() + end)
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        )
        if purposes:
            builder = builder.add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
        names = list(names)
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        return builder.sign(signer, hashes.SHA256()).public_bytes(serialization.Encoding.PEM), pem_of(key)


def pem_of(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def uri(text: str) -> x509.UniformResourceIdentifier:
    return x509.UniformResourceIdentifier(text)
