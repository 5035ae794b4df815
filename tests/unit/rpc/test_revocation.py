"""Lists of certificates that were taken back, as authorities of every kind may write them, and as disks may damage them."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.name import _ASN1Type
from cryptography.x509.oid import NameOID

from runner import certs
from runner.errors import UsageError
from runner.rpc.revocation import Revocations, read

NOW = datetime.now(UTC)
SERIAL = 77


class Authority:
    """One of which nobody has ever heard, in `folder`."""

    def __init__(self, folder: Path) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.certificates = folder / "ca.pem"
        self.list = folder / "crl.pem"
        name = self.name(_ASN1Type.UTF8String)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(self.key.public_key())
            .serial_number(1)
            .not_valid_before(NOW)
            .not_valid_after(NOW + timedelta(days=1))
            .sign(self.key, hashes.SHA256())
        )
        self.issuer = certificate.subject.rfc4514_string()
        self.certificates.write_bytes(certificate.public_bytes(Encoding.PEM))

    def name(self, kind: _ASN1Type) -> x509.Name:
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Somebody", _type=kind)])

    def revoked(self, kind: _ASN1Type = _ASN1Type.UTF8String) -> x509.CertificateRevocationList:
        """A list with one certificate, by an issuer whose name is encoded so."""
        return (
            x509.CertificateRevocationListBuilder()
            .issuer_name(self.name(kind))
            .last_update(NOW)
            .next_update(NOW + timedelta(days=1))
            .add_revoked_certificate(
                x509.RevokedCertificateBuilder().serial_number(SERIAL).revocation_date(NOW).build()
            )
            .sign(self.key, hashes.SHA256())
        )


@pytest.mark.parametrize("kind", [_ASN1Type.UTF8String, _ASN1Type.PrintableString])
def test_however_a_list_encodes_the_name_of_its_issuer(tmp_path: Path, kind: _ASN1Type) -> None:
    authority = Authority(tmp_path)
    authority.list.write_bytes(authority.revoked(kind).public_bytes(Encoding.PEM))
    revocations = Revocations(authority.list, authority.certificates)
    assert revocations.has(authority.issuer, SERIAL)
    assert not revocations.has(authority.issuer, SERIAL + 1)
    assert not revocations.has("CN=Somebody else", SERIAL)


def test_every_damaged_byte_of_a_list_is_told_as_what_it_is(tmp_path: Path) -> None:
    """Also where only a look at the part says so. What does not change what was signed, such as another spelling of the
    signature, is no damage: then the list says what it said."""
    authority = Authority(tmp_path)
    whole = authority.revoked().public_bytes(Encoding.DER)
    authority.list.write_bytes(authority.revoked().public_bytes(Encoding.PEM))
    said = read(authority.list, authority.certificates)
    told = []
    for place in range(len(whole)):
        for bits in (1, 0xFF):
            damaged = bytearray(whole)
            damaged[place] ^= bits
            text = base64.encodebytes(damaged)
            authority.list.write_bytes(b"-----BEGIN X509 CRL-----\n" + text + b"-----END X509 CRL-----\n")
            try:
                assert read(authority.list, authority.certificates) == said, place
            except UsageError as error:
                told.append(error.message)
    assert len(told) >= 2 * len(whole) - 4
    assert all("tls.crl" in message for message in told)


def test_a_list_of_another_authority_says_nothing_about_those_of_the_former(tmp_path: Path) -> None:
    """Until the node reloads, TLS lets those of the former authority connect."""
    former = certs.Authority.create(tmp_path, now=NOW)
    issued = former.issue(certs.Kind.CLIENT, "eve")
    serial = x509.load_pem_x509_certificate(issued.certificate.read_bytes()).serial_number
    former.revoke(certs.Kind.CLIENT, "eve")
    revocations = Revocations(former.crl_file, former.certificate_file)
    assert revocations.has(issued.issuer, serial)
    successor = certs.Authority.create(tmp_path, now=NOW, force=True)
    assert not list(x509.load_pem_x509_crl(successor.crl_file.read_bytes()))
    assert revocations.has(issued.issuer, serial)
    other = successor.issue(certs.Kind.CLIENT, "mallory")
    serial_of_other = x509.load_pem_x509_certificate(other.certificate.read_bytes()).serial_number
    assert not revocations.has(other.issuer, serial_of_other)
    successor.revoke(certs.Kind.CLIENT, "mallory")
    assert revocations.has(other.issuer, serial_of_other)
    assert revocations.has(issued.issuer, serial)
