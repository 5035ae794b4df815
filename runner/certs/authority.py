"""A private certificate authority: for nodes, and for those who ask them.

<folder>/                       0700
    ca.pem, ca.key              the authority; only its certificate ever leaves the folder
    nodes/NAME.pem, .key        a node: it serves, and asks other nodes
    clients/NAME.pem, .key      somebody who asks nodes
    issued                      0600: a line for each certificate that was issued: its serial number (hex), kind and name
    crl.pem                     which of them were revoked, for nodes (`tls.crl`); made with the first that is

Who a certificate is for stands in its URI (`runner://node/NAME`, `runner://client/NAME`); where a node can be reached, in its DNS
names and addresses. Keys are of the curve P-256, 0600, and never replaced unless that is asked for.
"""

from __future__ import annotations

import fcntl
import ipaddress
import os
import re
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from enum import StrEnum
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from msgspec import Struct

from runner import privatefile
from runner.certs import revoked
from runner.certs.register import Register
from runner.errors import StoreError, UsageError
from runner.model.caller import check_name

CA_FILE = "ca.pem"
CA_DAYS = 3650
LEAF_DAYS = 365
MOST_DAYS = 36500
URI = "runner://{kind}/{name}"

_SKEW = timedelta(minutes=5)
"""By how much clocks of two machines may differ: a certificate is valid from that much before it was made."""

_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_DNS_NAME = re.compile(rf"(?=.{{1,253}}$)(?:\*\.)?{_LABEL}(?:\.{_LABEL})*")


class Kind(StrEnum):
    NODE = "node"
    CLIENT = "client"


class Issued(Struct, frozen=True, kw_only=True):
    """One certificate with its key. `expires` is in UTC; `days` is how long it is good for in all; `issuer` tells authorities
    apart."""

    kind: Kind
    name: str
    hosts: tuple[str, ...]
    days: int
    expires: datetime
    issuer: str
    certificate: Path
    key: Path


class Authority:
    """The one in `folder`. `now` is in UTC, aware."""

    def __init__(self, folder: Path, now: datetime) -> None:
        """Raises UsageError where there is none, or none that can issue anything."""
        self.folder = folder
        self._register = Register(folder)
        self._now = now
        with _changing(folder):
            _settle(self.certificate_file)
        key_file = _key_of(self.certificate_file)
        if not self.certificate_file.exists() and not key_file.exists():
            raise UsageError(f"there is no authority in {folder}: `runner certs init` makes one")
        self._certificate = _read_certificate(self.certificate_file)
        self._key = _read_key(key_file)
        if self._key.public_key() != self._certificate.public_key():
            raise UsageError(f"{key_file} is not the key of {self.certificate_file}: put back what belongs together")
        if now >= self.expires:
            raise UsageError(
                f"the authority in {folder} expired at {self.expires:%Y-%m-%d}: `runner certs init --force` makes a new one, "
                "of which everybody needs a new certificate"
            )

    @classmethod
    def create(cls, folder: Path, *, now: datetime, days: int = CA_DAYS, force: bool = False) -> Authority:
        """A new one. Raises UsageError where there is one already and it is not to be replaced by `force`."""
        certificate_file = folder / CA_FILE
        # Two of the same name could not be told apart when one replaces the other.
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"Runner CA {secrets.token_hex(4)}")])
        key = ec.generate_private_key(ec.SECP256R1())
        begin, end = now - _SKEW, now + timedelta(days=_checked_days(days))
        certificate = (
            _builder(name, name, key, begin, end)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(signs_certificates=True), critical=True)
            .sign(key, hashes.SHA256())
        )
        with _changing(folder, make=True):
            _settle(certificate_file)
            if not force and (certificate_file.exists() or _key_of(certificate_file).exists()):
                raise UsageError(
                    f"there is an authority in {folder} already: --force replaces it, and then everybody needs a new certificate"
                )
            _put(certificate_file, certificate, key)
            # Empty, so that nodes can look into it from their first day.
            revoked.write(folder, certificate, key, (), since=now - _SKEW)
        return cls(folder, now)

    @property
    def certificate_file(self) -> Path:
        return self.folder / CA_FILE

    @property
    def expires(self) -> datetime:
        return self._certificate.not_valid_after_utc

    def issue(
        self, kind: Kind, name: str, *, hosts: tuple[str, ...] = (), days: int = LEAF_DAYS, force: bool = False
    ) -> Issued:
        """A certificate with a key of its own, good for `days`, but no longer than the authority. Raises UsageError for a name
        or a host that can be none, and where `name` has a certificate already, unless `force`."""
        alternatives = alternative_names(kind, name, hosts)
        purposes = [ExtendedKeyUsageOID.CLIENT_AUTH]
        if kind is Kind.NODE:
            purposes.insert(0, ExtendedKeyUsageOID.SERVER_AUTH)
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        begin, end = self._now - _SKEW, min(self._now + timedelta(days=_checked_days(days)), self.expires)
        certificate = (
            _builder(subject, self._certificate.subject, key, begin, end)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(signs_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
            .add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()),
                critical=False,
            )
            .sign(self._key, hashes.SHA256())
        )
        path = self.folder / f"{kind}s" / f"{name}.pem"
        with _changing(path.parent, make=True):
            _settle(path)
            if not force and (path.exists() or _key_of(path).exists()):
                raise UsageError(
                    f"{name!r} has a certificate already, {path}: `runner certs renew {name}` makes a new one with the same "
                    "names, --force one with others"
                )
            self._register.add(certificate.serial_number, kind, name)
            _put(path, certificate, key)
        return _described(kind, path, certificate)

    @property
    def crl_file(self) -> Path:
        return self.folder / revoked.CRL_FILE

    def revoke(self, kind: Kind, name: str) -> int:
        """Take back all certificates that `name` was ever issued, and remove the last one with its key; how many are new on the
        list. Raises UsageError where there is none, and for a list that is not this authority's."""
        path = self.folder / f"{kind}s" / f"{name}.pem"
        with _changing(self.folder):
            serials = {serial for serial, *whose in self._register.read() if whose == [kind, name]}
            if path.exists():  # which may be older than the list of what was issued
                serials.add(_read_certificate(path).serial_number)
            if not serials:
                others = [its for _, its, whose in self._register.read() if whose == name]
                hint = f"; as a {others[0]} it was (`--node` says which)" if others else ""
                raise UsageError(f"{name!r} was issued no certificate as a {kind} in {self.folder}{hint}")
            known = revoked.read(self.folder, self._certificate)
            new = serials - {each.serial_number for each in known}
            entries = [
                x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(self._now).build()
                for serial in sorted(new)
            ]
            revoked.write(self.folder, self._certificate, self._key, [*known, *entries], since=self._now - _SKEW)
            for file in (_key_of(path), path):
                file.unlink(missing_ok=True)
        return len(new)

    def renew(self, issued: Issued, days: int | None = None) -> Issued:
        """A new key and certificate with the same names, for as long as the old was good for, or `days`."""
        return self.issue(issued.kind, issued.name, hosts=issued.hosts, days=days or issued.days, force=True)

    def is_due(self, issued: Issued, within: timedelta) -> bool:
        """Whether it expires so soon, or is of an authority that was here before."""
        return issued.expires - self._now <= within or issued.issuer != self._certificate.subject.rfc4514_string()

    def all(self) -> list[Issued]:
        """What was issued here and is still there, what expires first first. Raises UsageError where one cannot be read."""
        found = [
            _described(kind, path, _read_certificate(path))
            for kind in Kind
            for path in (self.folder / f"{kind}s").glob("[!.]*.pem")
        ]
        return sorted(found, key=lambda issued: (issued.expires, issued.kind, issued.name))


def alternative_names(kind: Kind, name: str, hosts: tuple[str, ...]) -> list[x509.GeneralName]:
    """Those of a certificate. Raises UsageError for a name or a host that can be none."""
    try:
        check_name(name)
    except ValueError as error:
        raise UsageError(f"a {kind} cannot be called {name!r}: {error}") from None
    if hosts and kind is Kind.CLIENT:
        raise UsageError("a client is not reached at a host: leave --host away, or give --node too")
    if kind is Kind.NODE and not hosts:
        raise UsageError("a node needs the names and addresses at which it is reached: --host onprem-1.example")
    return [x509.UniformResourceIdentifier(URI.format(kind=kind, name=name)), *map(_host, hosts)]


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, begin: datetime, end: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(end)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _checked_days(days: int) -> int:
    if not 1 <= days <= MOST_DAYS:
        raise UsageError(f"a certificate can be good for 1 to {MOST_DAYS:,} days, not {days:,}")
    return days


def is_host(text: str) -> bool:
    """Whether a node can have `text` among its hosts."""
    try:
        return bool(_host(text))
    except UsageError:
        return False


def _host(text: str) -> x509.GeneralName:
    with suppress(ValueError):
        return x509.IPAddress(ipaddress.ip_address(text))
    if not _DNS_NAME.fullmatch(text) or re.fullmatch(r"[0-9.]+", text):
        raise UsageError(
            f"{text!r} is no host: expected a DNS name such as onprem-1.example (other letters as xn--…) or an address such as "
            "10.0.0.5 or fd00::5, without a port"
        )
    return x509.DNSName(text.lower())


def _described(kind: Kind, path: Path, certificate: x509.Certificate) -> Issued:
    name = path.stem
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        names = x509.SubjectAlternativeName([])
    if URI.format(kind=kind, name=name) not in names.get_values_for_type(x509.UniformResourceIdentifier):
        raise UsageError(f"{path} was not issued for the {kind} {name!r}: remove it")
    expires = certificate.not_valid_after_utc
    addresses = [str(address) for address in names.get_values_for_type(x509.IPAddress)]
    return Issued(
        kind=kind,
        name=name,
        hosts=(*names.get_values_for_type(x509.DNSName), *addresses),
        days=max(1, round((expires - certificate.not_valid_before_utc) / timedelta(days=1))),
        expires=expires,
        issuer=certificate.issuer.rfc4514_string(),
        certificate=path,
        key=_key_of(path),
    )


def _key_of(certificate: Path) -> Path:
    return certificate.with_suffix(".key")


def _read_certificate(path: Path) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificate(path.read_bytes())
    except OSError as error:
        raise UsageError(
            f"the certificate {path} cannot be read: {error.strerror}; make it readable for this user"
        ) from None
    except ValueError:
        raise UsageError(f"{path} is no certificate: put back what was there, or issue it anew with --force") from None


def _read_key(path: Path) -> ec.EllipticCurvePrivateKey:
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        pem = path.read_bytes()
    except OSError as error:
        raise UsageError(f"the key {path} cannot be read: {error.strerror}; make it readable for this user") from None
    if mode & 0o077:
        raise UsageError(
            f"others may use the key {path} (mode {mode:04o}): chmod 600 it, and if somebody may have read it, "
            "`runner certs init --force` makes a new one"
        )
    try:
        key = serialization.load_pem_private_key(pem, None)
    except (ValueError, TypeError):
        key = None
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise UsageError(f"{path} is no key that `runner certs init` has made: put back the right one")
    return key


@contextmanager
def _changing(folder: Path, *, make: bool = False) -> Iterator[None]:
    """Nobody else changes anything in `folder` meanwhile. What goes wrong with files there becomes a StoreError."""
    try:
        if make:
            privatefile.make_folder(folder)
        elif not folder.exists():
            yield
            return
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)
    except OSError as error:
        raise StoreError(f"certificates cannot be kept: {error.strerror}: {error.filename or folder}") from error


def _put(path: Path, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> None:
    """Put certificate and key in the place of what is there. Both are on the disk before either is; who is killed between leaves
    what `_settle` finishes, and a node that reads the two in between notices that they do not belong together."""
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    privatefile.write(_new(_key_of(path)), pem, replace=True)
    privatefile.write(_new(path), certificate.public_bytes(serialization.Encoding.PEM), mode=0o644, replace=True)
    _replace(path)


def _replace(path: Path) -> None:
    with suppress(FileNotFoundError):
        os.replace(_new(_key_of(path)), _key_of(path))
    os.replace(_new(path), path)
    privatefile.sync_folder(path.parent)


def _settle(path: Path) -> None:
    """Finish what somebody who was killed had begun: once the new key is in its place, the new certificate belongs there too."""
    certificate, key = _new(path), _new(_key_of(path))
    if certificate.exists() and not key.exists():
        _replace(path)
    certificate.unlink(missing_ok=True)  # before the key, else it would look as if it had to be finished
    key.unlink(missing_ok=True)


def _new(path: Path) -> Path:
    return path.with_name(f"{path.name}.new")
