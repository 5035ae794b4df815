from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID
from msgspec.structs import replace

from runner.certs import Kind
from runner.config.service import Tls
from runner.errors import UsageError
from runner.rpc.credentials import Credentials, read
from tests.material import Material, now


@pytest.fixture
def material(tmp_path: Path) -> Material:
    return Material.make(tmp_path / "certs")


def refused(tls: Tls, match: str) -> None:
    with pytest.raises(UsageError, match=match):
        read(tls, now())


def placed(folder: Path, certificate: bytes, key: bytes, tls: Tls) -> Tls:
    """`tls` with another certificate and key."""
    (folder / "other.pem").write_bytes(certificate)
    (folder / "other.key").touch(mode=0o600)
    (folder / "other.key").write_bytes(key)
    return replace(tls, certificate=folder / "other.pem", key=folder / "other.key")


def test_what_runner_certs_makes_is_good_without_a_word(material: Material) -> None:
    found = read(material.tls, now())
    assert found.warnings == ()
    assert found.client_ca == material.ca
    assert read(replace(material.tls, client_ca=None), now()).client_ca is None


def test_a_file_that_is_not_there_is_told(material: Material, tmp_path: Path) -> None:
    nowhere = tmp_path / "nowhere.pem"
    for setting in ("certificate", "key", "client_ca"):
        refused(replace(material.tls, **{setting: nowhere}), rf"tls\.{setting}: {nowhere} cannot be read: No such file")
        refused(replace(material.tls, **{setting: tmp_path}), rf"tls\.{setting}: {tmp_path} cannot be read: Is a dir")


def test_a_file_that_may_not_be_read_is_told(material: Material, require: Callable[[str], None]) -> None:
    require("unprivileged")
    material.tls.key.chmod(0)
    refused(material.tls, r"tls\.key: .* cannot be read: Permission denied")


def test_files_that_are_something_else_are_told(material: Material, tmp_path: Path) -> None:
    tls = material.tls
    (tmp_path / "text").write_text("hello")
    (tmp_path / "text").chmod(0o600)
    refused(replace(tls, certificate=tmp_path / "text"), r"tls\.certificate: .*text is no certificate in PEM")
    refused(replace(tls, client_ca=tmp_path / "text"), r"tls\.client_ca: .*text is no certificate in PEM")
    refused(replace(tls, key=tmp_path / "text"), r"tls\.key: .*text is no private key in PEM")
    refused(replace(tls, key=tls.certificate), r"tls\.key: others may use .*mode 0644")
    locked = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"passphrase"),
    )
    (tmp_path / "text").write_bytes(locked)
    refused(replace(tls, key=tmp_path / "text"), "is encrypted: give a key without a passphrase")


@pytest.mark.parametrize(
    ("mode", "good"), [(0o600, True), (0o400, True), (0o640, True), (0o644, False), (0o660, False), (0o601, False)]
)
def test_a_key_that_others_may_use_is_refused(material: Material, mode: int, good: bool) -> None:
    material.tls.key.chmod(mode)
    if good:
        read(material.tls, now())
    else:
        refused(material.tls, rf"tls\.key: others may use .*\(mode 0{mode:o}\): chmod 600")


def test_the_key_of_another_certificate_is_refused(material: Material) -> None:
    other = material.authority.issue(Kind.NODE, "onprem-2", hosts=("localhost",))
    refused(replace(material.tls, key=other.key), r"onprem-2.key is not the key of the certificate .*onprem-1.pem")


def test_a_clients_certificate_does_not_serve(material: Material) -> None:
    issued = material.authority.issue(Kind.CLIENT, "ada")
    tls = replace(material.tls, certificate=issued.certificate, key=issued.key)
    refused(tls, r"no certificate of a server: `runner certs issue NAME --node`")


def test_a_certificate_without_purposes_serves(material: Material, tmp_path: Path) -> None:
    certificate, key = material.by_hand([x509.DNSName("localhost")], purposes=())
    read(placed(tmp_path, certificate, key, material.tls), now())


@pytest.mark.parametrize(
    ("begin", "end", "match"),
    [
        (timedelta(days=-2), timedelta(days=-1), r"expired at .* UTC: `runner certs renew`"),
        (timedelta(days=1), timedelta(days=2), r"is valid from .* UTC on: look at the clock"),
    ],
)
def test_a_certificate_that_is_not_valid_now_is_refused(
    material: Material, tmp_path: Path, begin: timedelta, end: timedelta, match: str
) -> None:
    certificate, key = material.by_hand(
        [x509.DNSName("localhost")], begin=begin, end=end, purposes=(ExtendedKeyUsageOID.SERVER_AUTH,)
    )
    refused(placed(tmp_path, certificate, key, material.tls), match)


def test_two_weeks_before_its_end_a_certificate_is_complained_about(material: Material) -> None:
    issued = material.authority.issue(Kind.NODE, "onprem-1", hosts=("localhost",), days=365, force=True)
    assert read(material.tls, issued.expires - timedelta(days=14, minutes=1)).warnings == ()
    (warning,) = read(material.tls, issued.expires - timedelta(days=13, hours=23)).warnings
    assert f"onprem-1.pem expires at {issued.expires:%Y-%m-%d %H:%M} UTC" in warning
    assert "runner certs renew" in warning


def test_an_authority_that_is_none_is_refused(material: Material) -> None:
    tls = material.tls
    refused(replace(tls, client_ca=tls.certificate), r"tls\.client_ca: .*CN=onprem-1, which is no authority")


def test_an_authority_that_expired_is_refused_unless_another_is_beside_it(material: Material, tmp_path: Path) -> None:
    certificate, _ = material.by_hand([], begin=timedelta(days=-2), end=timedelta(days=-1), ca=True)
    (tmp_path / "old.pem").write_bytes(certificate)
    refused(replace(material.tls, client_ca=tmp_path / "old.pem"), "expired at")
    (tmp_path / "both.pem").write_bytes(certificate + material.ca)
    (warning,) = read(replace(material.tls, client_ca=tmp_path / "both.pem"), now()).warnings
    assert "expired at" in warning


def test_an_authority_of_the_same_name_that_is_another_is_refused(material: Material, tmp_path: Path) -> None:
    """As when one was made anew by hand, under the name of the old one."""
    key = ec.generate_private_key(ec.SECP256R1())
    ours = x509.load_pem_x509_certificate(material.ca)
    impostor = (
        x509.CertificateBuilder()
        .subject_name(ours.subject)
        .issuer_name(ours.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(ours.not_valid_before_utc)
        .not_valid_after(ours.not_valid_after_utc)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
        .public_bytes(serialization.Encoding.PEM)
    )
    (tmp_path / "ca.pem").write_bytes(impostor)
    refused(replace(material.tls, client_ca=tmp_path / "ca.pem"), "issued by another authority than")
    (tmp_path / "ca.pem").write_bytes(impostor + material.ca)
    assert read(replace(material.tls, client_ca=tmp_path / "ca.pem"), now()).warnings == ()


def test_the_nodes_own_certificate_may_be_of_another_authority(material: Material, tmp_path: Path) -> None:
    other = Material.make(tmp_path / "others")
    assert read(replace(material.tls, client_ca=other.tls.client_ca), now()).warnings == ()


def test_what_cannot_be_used_changes_nothing(material: Material) -> None:
    credentials = Credentials(material.tls, now().timestamp())
    at = now().timestamp()
    with pytest.raises(UsageError, match=r"tls\.client_ca.*only with a restart"):
        credentials.reload(replace(material.tls, client_ca=None), at)
    material.tls.key.write_bytes(b"nonsense")
    with pytest.raises(UsageError, match="no private key"):
        credentials.reload(material.tls, at)
    assert credentials.warnings == ()
