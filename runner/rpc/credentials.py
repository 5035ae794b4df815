"""What a node shows by TLS, and whose certificates it believes: checked before it is used, and replaced while it runs.

With `client_ca` every connection needs a certificate of that authority, also one whose calls carry tokens: who has none is not
listened to at all. Without it callers give tokens.
"""

from __future__ import annotations

import os
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
from msgspec import Struct

from runner.config.service import Tls
from runner.errors import UsageError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
    from cryptography.x509 import Certificate

WARNING_DAYS = 14
"""How long before its end a certificate is complained about."""

_RENEW = "`runner certs renew` renews what `runner certs` has issued"


class Credentials:
    """Of the listeners of one node. Connections that are open stay as they are when they are replaced."""

    def __init__(self, tls: Tls, now: float) -> None:
        """`now` is in seconds since the epoch. Raises UsageError with the file and what to do, for what cannot be served."""
        self.warnings: tuple[str, ...] = ()
        """What is worth a look in what is used now, e.g. that a certificate expires in a week."""
        self._asks = tls.client_ca is not None
        self._take(tls, now)

    def listener(self) -> grpc.ServerCredentials:
        """For one address: each needs its own, for gRPC tells an address only once what has changed."""
        taken = self._configuration

        def changed() -> grpc.ServerCertificateConfiguration | None:
            """Asked for every connection, on a thread of gRPC's; None where all is as it was."""
            nonlocal taken
            if taken is self._configuration:
                return None
            taken = self._configuration
            return taken

        return grpc.dynamic_ssl_server_credentials(
            taken,
            changed,  # type: ignore[arg-type]  # the stubs do not know of None, which gRPC documents
            require_client_authentication=self._asks,
        )

    def reload(self, tls: Tls, now: float) -> None:
        """Use what is in the files now, for connections that are made from here on. Raises UsageError, and then nothing has
        changed."""
        if (tls.client_ca is not None) is not self._asks:
            raise UsageError("whether callers are asked for a certificate (tls.client_ca) changes only with a restart")
        self._take(tls, now)

    def _take(self, tls: Tls, now: float) -> None:
        material = read(tls, datetime.fromtimestamp(now, UTC))
        self.warnings = material.warnings
        self._configuration = grpc.ssl_server_certificate_configuration(
            [(material.key, material.chain)], root_certificates=material.client_ca
        )


class Material(Struct, frozen=True, kw_only=True):
    """PEM that fits together, and what is worth a look in it."""

    key: bytes
    chain: bytes
    client_ca: bytes | None
    warnings: tuple[str, ...]


def read(tls: Tls, now: datetime) -> Material:
    """What the files hold. Raises UsageError with the file and what to do."""
    chain, chain_pem = _certificates(tls.certificate, "tls.certificate")
    key_pem = _read_key(tls.key)
    if _public(tls.key, key_pem) != chain[0].public_key():
        raise UsageError(
            f"tls.key: {tls.key} is not the key of the certificate {tls.certificate}: give the two that belong together "
            "(while they are being replaced: load them again)"
        )
    _check_purpose(tls.certificate, chain[0])
    warnings = []
    for certificate in chain:
        fault, warning = _times(tls.certificate, certificate, now)
        if fault:
            raise UsageError(fault)
        warnings += warning
    authorities_pem = None
    if tls.client_ca is not None:
        authorities, authorities_pem = _certificates(tls.client_ca, "tls.client_ca")
        for authority in authorities:
            _check_authority(tls.client_ca, authority)
        _check_issuer(tls, chain[-1], authorities)
        warnings += _check_authorities_times(tls.client_ca, authorities, now)
    return Material(key=key_pem, chain=chain_pem, client_ca=authorities_pem, warnings=tuple(warnings))


def _certificates(path: Path, setting: str) -> tuple[list[Certificate], bytes]:
    from cryptography import x509

    pem = _read(path, setting)
    try:
        return x509.load_pem_x509_certificates(pem), pem
    except ValueError:
        raise UsageError(
            f"{setting}: {path} is no certificate in PEM: it begins with -----BEGIN CERTIFICATE-----"
        ) from None


def _read(path: Path, setting: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UsageError(f"{setting}: {path} cannot be read: {error.strerror}") from None


def _read_key(path: Path) -> bytes:
    pem = _read(path, "tls.key")
    mode = stat.S_IMODE(os.stat(path).st_mode)
    if mode & 0o027:
        raise UsageError(
            f"tls.key: others may use {path} (mode {mode:04o}): chmod 600 it, and if somebody may have read it, make a new key"
        )
    return pem


def _public(path: Path, pem: bytes) -> CertificatePublicKeyTypes:
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        # Any key that is not fit for TLS is not that of a certificate either.
        return load_pem_private_key(pem, None).public_key()  # type: ignore[return-value]
    except TypeError:
        raise UsageError(
            f"tls.key: {path} is encrypted: give a key without a passphrase, which nobody could type at a restart"
        ) from None
    except ValueError:
        raise UsageError(
            f"tls.key: {path} is no private key in PEM: it begins with -----BEGIN PRIVATE KEY-----"
        ) from None


def _check_purpose(path: Path, certificate: Certificate) -> None:
    from cryptography import x509
    from cryptography.x509.oid import ExtendedKeyUsageOID

    try:
        purposes = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return
    if ExtendedKeyUsageOID.SERVER_AUTH not in purposes:
        raise UsageError(
            f"tls.certificate: {path} is no certificate of a server: `runner certs issue NAME --node` makes one"
        )


def _times(path: Path, certificate: Certificate, now: datetime) -> tuple[str | None, list[str]]:
    """Why it is not valid now, else None; and what is worth a look."""
    begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    whose = f"the certificate of {certificate.subject.rfc4514_string()} in {path}"
    if now >= end:
        return f"{whose} expired at {end:%Y-%m-%d %H:%M} UTC: {_RENEW}", []
    if now < begin:
        return f"{whose} is valid from {begin:%Y-%m-%d %H:%M} UTC on: look at the clock of this machine", []
    if end - now < timedelta(days=WARNING_DAYS):
        return None, [f"{whose} expires at {end:%Y-%m-%d %H:%M} UTC: {_RENEW}"]
    return None, []


def _check_authorities_times(path: Path, authorities: list[Certificate], now: datetime) -> list[str]:
    """One of them that is valid is enough, so that an old authority and its successor can stand side by side."""
    faults, warnings = [], []
    for authority in authorities:
        fault, warning = _times(path, authority, now)
        faults += [fault] if fault else []
        warnings += warning
    if len(faults) == len(authorities):
        raise UsageError(faults[0])
    return faults + warnings


def _check_authority(path: Path, certificate: Certificate) -> None:
    from cryptography import x509

    try:
        if certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca:
            return
    except x509.ExtensionNotFound:
        pass
    raise UsageError(
        f"tls.client_ca: {path} holds a certificate of {certificate.subject.rfc4514_string()}, which is no authority: "
        "give the certificate of whoever issues those of the clients"
    )


def _check_issuer(tls: Tls, certificate: Certificate, authorities: list[Certificate]) -> None:
    """The node's own certificate may be of another authority; but one that has the name of these has to be of one of these."""
    from cryptography.exceptions import InvalidSignature

    named = [authority for authority in authorities if authority.subject == certificate.issuer]
    for authority in named:
        try:
            certificate.verify_directly_issued_by(authority)
            return
        except (InvalidSignature, ValueError, TypeError):
            continue
    if named:
        raise UsageError(
            f"{tls.certificate} was issued by another authority than {tls.client_ca}, though of the same name: issue it "
            "anew, or give the authority that it belongs to"
        )
