from __future__ import annotations

import os
import shutil
import signal
import stat
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

from runner.certs import Authority, Issued, Kind
from runner.errors import StoreError, UsageError

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
HOSTS = ("onprem-1.example", "10.0.0.5", "fd00::5")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "certs"


@pytest.fixture
def authority(folder: Path) -> Authority:
    return Authority.create(folder, now=NOW)


def certificate(path: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(path.read_bytes())


def belongs(issued: Issued) -> bool:
    key = load_pem_private_key(issued.key.read_bytes(), None)
    return key.public_key() == certificate(issued.certificate).public_key()


def trusted(authority: Authority, issued: Issued, when: datetime = NOW) -> bool:
    """Whether a stranger who knows the authority believes the certificate of a client."""
    store = Store([certificate(authority.certificate_file)])
    try:
        verifier = PolicyBuilder().store(store).time(when).build_client_verifier()
        verifier.verify(certificate(issued.certificate), [])
    except VerificationError:
        return False
    return True


def test_an_authority_issues_and_nothing_else(authority: Authority) -> None:
    ca = certificate(authority.certificate_file)
    extensions = ca.extensions
    constraints = extensions.get_extension_for_class(x509.BasicConstraints)
    assert (constraints.critical, constraints.value.ca, constraints.value.path_length) == (True, True, 0)
    usage = extensions.get_extension_for_class(x509.KeyUsage)
    assert (usage.critical, usage.value.key_cert_sign, usage.value.digital_signature) == (True, True, False)
    assert ca.not_valid_after_utc - NOW == timedelta(days=3650)
    key = ca.public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    assert key.curve.name == "secp256r1"


def test_a_client(authority: Authority) -> None:
    issued = authority.issue(Kind.CLIENT, "ada@example")
    leaf = certificate(issued.certificate)
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert list(names) == [x509.UniformResourceIdentifier("runner://client/ada@example")]
    purposes = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(purposes) == [ExtendedKeyUsageOID.CLIENT_AUTH]
    usage = leaf.extensions.get_extension_for_class(x509.KeyUsage)
    assert (usage.critical, usage.value.digital_signature, usage.value.key_cert_sign) == (True, True, False)
    assert not leaf.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    assert leaf.not_valid_after_utc - NOW == timedelta(days=365)
    assert belongs(issued)
    assert trusted(authority, issued)
    assert not trusted(authority, issued, NOW + timedelta(days=366))


def test_a_node_serves_and_asks(authority: Authority) -> None:
    issued = authority.issue(Kind.NODE, "onprem-1", hosts=HOSTS, days=30)
    leaf = certificate(issued.certificate)
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.UniformResourceIdentifier) == ["runner://node/onprem-1"]
    assert names.get_values_for_type(x509.DNSName) == ["onprem-1.example"]
    assert names.get_values_for_type(x509.IPAddress) == [ip_address("10.0.0.5"), ip_address("fd00::5")]
    purposes = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert set(purposes) == {ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH}
    assert leaf.not_valid_after_utc - NOW == timedelta(days=30)
    assert (issued.hosts, issued.days) == (HOSTS, 30)


def test_two_certificates_are_never_the_same(authority: Authority) -> None:
    leaves = [certificate(authority.issue(Kind.CLIENT, f"c{n}").certificate) for n in range(20)]
    assert len({leaf.serial_number for leaf in leaves}) == 20
    assert min(leaf.serial_number for leaf in leaves) > 2**64


def test_a_client_and_a_node_may_have_one_name(authority: Authority) -> None:
    client = authority.issue(Kind.CLIENT, "ca")
    node = authority.issue(Kind.NODE, "ca", hosts=HOSTS)
    assert belongs(client)
    assert belongs(node)
    assert {issued.certificate for issued in authority.all()} == {client.certificate, node.certificate}


def test_only_certificates_may_be_read_by_others(authority: Authority, folder: Path) -> None:
    former = os.umask(0)
    try:
        authority.issue(Kind.CLIENT, "ada")
        Authority.create(folder, now=NOW, force=True)
    finally:
        os.umask(former)
    for path in folder.rglob("*"):
        wanted = 0o700 if path.is_dir() else 0o644 if path.suffix == ".pem" else 0o600
        assert stat.S_IMODE(path.stat().st_mode) == wanted, path
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_no_key_is_replaced_unless_that_is_asked_for(authority: Authority, folder: Path) -> None:
    issued = authority.issue(Kind.CLIENT, "ada")
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    with pytest.raises(UsageError, match=r"has a certificate already.*renew ada.*--force"):
        authority.issue(Kind.CLIENT, "ada")
    issued.certificate.unlink()
    with pytest.raises(UsageError, match="has a certificate already"):
        authority.issue(Kind.CLIENT, "ada")
    issued.certificate.write_bytes(before[issued.certificate])
    with pytest.raises(UsageError, match=r"there is an authority in .* already: --force"):
        Authority.create(folder, now=NOW)
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
    assert belongs(authority.issue(Kind.CLIENT, "ada", force=True))
    assert issued.key.read_bytes() != before[issued.key]


def test_renewed_with_the_same_names_and_another_key(authority: Authority, folder: Path) -> None:
    old = authority.issue(Kind.NODE, "onprem-1", hosts=HOSTS, days=30)
    key, serial = old.key.read_bytes(), certificate(old.certificate).serial_number
    later = Authority(folder, NOW + timedelta(days=20))
    (listed,) = later.all()
    assert not later.is_due(listed, timedelta(days=5))
    assert later.is_due(listed, timedelta(days=10))
    new = later.renew(listed)
    assert (new.hosts, new.days, new.expires) == (HOSTS, 30, NOW + timedelta(days=50))
    assert belongs(new)
    assert new.key.read_bytes() != key
    assert certificate(new.certificate).serial_number != serial
    assert later.renew(listed, days=7).days == 7


def test_nothing_outlives_its_authority(folder: Path) -> None:
    authority = Authority.create(folder, now=NOW, days=10)
    assert authority.issue(Kind.CLIENT, "ada").expires == NOW + timedelta(days=10)
    with pytest.raises(UsageError, match=r"expired at 2026-05-11: `runner certs init --force`"):
        Authority(folder, NOW + timedelta(days=10))


def test_what_an_authority_before_this_one_has_issued_is_due(authority: Authority, folder: Path) -> None:
    authority.issue(Kind.CLIENT, "ada")
    successor = Authority.create(folder, now=NOW, force=True)
    (issued,) = successor.all()
    assert not trusted(successor, issued)
    assert successor.is_due(issued, timedelta(0))
    renewed = successor.renew(issued)
    assert trusted(successor, renewed)
    assert not successor.is_due(renewed, timedelta(0))


@pytest.mark.parametrize("name", ["", "local", "a b", "../ca", "a/b", ".a", "a" * 65, "ä", "a\0", "a\n", "*.example"])
def test_names_that_nobody_can_have(authority: Authority, folder: Path, name: str) -> None:
    before = sorted(folder.rglob("*"))
    for kind in Kind:
        with pytest.raises(UsageError, match=f"a {kind} cannot be called"):
            authority.issue(kind, name, hosts=HOSTS)
    assert sorted(folder.rglob("*")) == before


@pytest.mark.parametrize(
    "host",
    ["", "a b", "https://a.example", "a.example:7000", "[::1]", "-a", "a-", "ä.example", "10.0.0.256", "1.2.3", "a..b",
     "a." * 130, "*", "a.*.b", "10.0.0.0/8", "a\n", "x" * 64],
)  # fmt: skip
def test_hosts_that_are_none(authority: Authority, host: str) -> None:
    with pytest.raises(UsageError, match=r"is no host: expected a DNS name .* without a port"):
        authority.issue(Kind.NODE, "onprem-1", hosts=("localhost", host))


@pytest.mark.parametrize(
    "host", ["localhost", "A.Example", "*.example", "xn--bcher-kva.example", "::", "10.0.0.5", "a-b.c"]
)
def test_hosts(authority: Authority, host: str) -> None:
    assert authority.issue(Kind.NODE, "onprem-1", hosts=(host,)).hosts == (host.lower(),)


def test_what_makes_no_sense_is_refused(authority: Authority, folder: Path) -> None:
    with pytest.raises(UsageError, match="a client is not reached at a host"):
        authority.issue(Kind.CLIENT, "ada", hosts=HOSTS)
    with pytest.raises(UsageError, match="a node needs the names and addresses"):
        authority.issue(Kind.NODE, "onprem-1")
    for days in (0, -1, 36501):
        with pytest.raises(UsageError, match="1 to 36,500 days"):
            authority.issue(Kind.CLIENT, "ada", days=days)
        with pytest.raises(UsageError, match="1 to 36,500 days"):
            Authority.create(folder, now=NOW, days=days, force=True)
    with pytest.raises(UsageError, match=r"there is no authority in .*`runner certs init`"):
        Authority(folder / "elsewhere", NOW)
    assert not (folder / "elsewhere").exists()


def test_a_folder_that_is_damaged_is_told_with_its_file(authority: Authority, folder: Path) -> None:
    other = Authority.create(folder.with_name("other"), now=NOW)
    issued = authority.issue(Kind.CLIENT, "ada")

    def told(match: str) -> None:
        with pytest.raises(UsageError, match=match):
            Authority(folder, NOW).all()

    issued.certificate.write_bytes(b"nonsense")
    told("ada.pem is no certificate")
    shutil.copy(folder / "ca.pem", issued.certificate)
    told("ada.pem was not issued for the client 'ada'")
    issued.certificate.unlink()

    kept = (folder / "ca.key").read_bytes()
    (folder / "ca.key").chmod(0o640)
    told(r"others may use the key .*mode 0640")
    (folder / "ca.key").chmod(0o600)
    (folder / "ca.key").write_bytes((other.folder / "ca.key").read_bytes())
    told(r"ca.key is not the key of .*ca.pem")
    (folder / "ca.key").write_bytes(b"nonsense")
    told("ca.key is no key that")
    (folder / "ca.key").unlink()
    told(r"ca.key cannot be read: No such file")
    with pytest.raises(UsageError, match="there is an authority"):
        Authority.create(folder, now=NOW)
    (folder / "ca.key").write_bytes(kept)
    (folder / "ca.key").chmod(0o600)
    (folder / "ca.pem").write_bytes(b"nonsense")
    told("ca.pem is no certificate")


def test_where_nothing_can_be_kept_it_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match=r"certificates cannot be kept: .*file"):
        Authority.create(tmp_path / "file", now=NOW)


@pytest.mark.parametrize(
    ("call", "number"), [*(("replace", number) for number in range(4)), *(("fsync", number) for number in range(5))]
)
def test_whoever_is_killed_while_it_renews_leaves_a_pair_that_belongs_together(
    authority: Authority, folder: Path, call: str, number: int
) -> None:
    """Killed at each of its renames, and at each of its syncs: what follows finds the old pair, or the new."""
    authority.issue(Kind.NODE, "onprem-1", hosts=HOSTS)
    script = """if True:
        import itertools, os, signal, sys
        from datetime import UTC, datetime
        from pathlib import Path
        from runner.certs import Authority
        folder, name, number = sys.argv[1:]
        authority = Authority(Path(folder), datetime(2026, 5, 1, 12, tzinfo=UTC))
        (issued,) = authority.all()
        real, calls = getattr(os, name), itertools.count()
        def call(*arguments):
            if next(calls) == int(number):
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*arguments)
        setattr(os, name, call)
        authority.renew(issued)
    """
    killed = subprocess.run([sys.executable, "-c", script, str(folder), call, str(number)], check=False, timeout=40)
    assert killed.returncode == -signal.SIGKILL

    # Whatever is done next there, here something else, puts it in order.
    with pytest.raises(UsageError, match="has a certificate already"):
        Authority(folder, NOW).issue(Kind.NODE, "onprem-1", hosts=HOSTS)
    (found,) = Authority(folder, NOW).all()
    assert belongs(found)
    names = {path.name for path in (folder / "nodes").iterdir() if not path.name.startswith(".")}
    assert names == {"onprem-1.pem", "onprem-1.key"}


def test_all_that_somebody_was_issued_is_revoked(authority: Authority, folder: Path) -> None:
    serials = [certificate(authority.issue(Kind.CLIENT, "ada", force=True).certificate).serial_number for _ in range(3)]
    authority.issue(Kind.NODE, "ada", hosts=HOSTS)
    kept = authority.issue(Kind.CLIENT, "adam")
    assert authority.revoke(Kind.CLIENT, "ada") == 3
    assert authority.revoke(Kind.CLIENT, "ada") == 0
    with pytest.raises(UsageError, match="'eve' was issued no certificate as a client"):
        authority.revoke(Kind.CLIENT, "eve")
    with pytest.raises(UsageError, match=r"as a node in .*; as a client it was"):
        authority.revoke(Kind.NODE, "adam")
    revoked = x509.load_pem_x509_crl(authority.crl_file.read_bytes())
    assert sorted(each.serial_number for each in revoked) == sorted(serials)
    key = certificate(authority.certificate_file).public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    assert revoked.is_signature_valid(key)
    assert stat.S_IMODE(authority.crl_file.stat().st_mode) == 0o644
    assert {issued.name: issued.kind for issued in authority.all()} == {"ada": Kind.NODE, "adam": Kind.CLIENT}
    assert kept.certificate.exists()
    assert not (folder / "clients" / "ada.pem").exists()
    assert not (folder / "clients" / "ada.key").exists()
    authority.issue(Kind.CLIENT, "ada")
    assert authority.revoke(Kind.CLIENT, "ada") == 1
    assert len(list(x509.load_pem_x509_crl(authority.crl_file.read_bytes()))) == 4


def test_one_that_was_issued_before_there_was_a_record_is_revoked(authority: Authority, folder: Path) -> None:
    authority.issue(Kind.CLIENT, "ada")
    (folder / "issued").unlink()
    assert authority.revoke(Kind.CLIENT, "ada") == 1


def test_a_successor_begins_a_list_of_its_own(authority: Authority, folder: Path) -> None:
    authority.issue(Kind.CLIENT, "ada")
    authority.revoke(Kind.CLIENT, "ada")
    successor = Authority.create(folder, now=NOW, force=True)
    successor.issue(Kind.CLIENT, "bob")
    successor.revoke(Kind.CLIENT, "bob")
    revoked = x509.load_pem_x509_crl(successor.crl_file.read_bytes())
    assert revoked.issuer == certificate(successor.certificate_file).subject
    assert len(list(revoked)) == 1
