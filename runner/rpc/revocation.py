"""Which certificates were taken back: a list (CRL) of those who have issued them, read anew whenever its file has changed.

gRPC for Python lets nobody give such a list to TLS, so whoever has a certificate that was taken back still connects; each of his
calls is refused.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from runner.errors import UsageError

if TYPE_CHECKING:
    from cryptography.x509 import Certificate, CertificateRevocationList

_LIST = re.compile(rb"-----BEGIN X509 CRL-----.+?-----END X509 CRL-----", re.DOTALL)

_log = logging.getLogger(__name__)

Revoked = frozenset[tuple[str, int]]
"""Certificates by the names of their issuers (as RFC 4514 has them: encoded, one name may differ from itself) and their serial
numbers."""


class Revocations:
    def __init__(self, path: Path, client_ca: Path) -> None:
        """`path` holds lists in PEM, each of an authority of `client_ca`. Raises UsageError for what cannot be used."""
        self._path = path
        self._client_ca = client_ca
        self._version = self._look()
        self._revoked, _ = _read(path, client_ca)

    def has(self, issuer: str, serial: int) -> bool:
        """Whether a certificate was taken back. While a file that has changed cannot be used, the last one that could be decides; so
        does, of an authority, the last list of it: another authority's, which has taken its place, says nothing about it, and who
        has a certificate of the former still connects until the node reloads."""
        version = self._look()
        if version != self._version:
            self._version = version
            try:
                revoked, issuers = _read(self._path, self._client_ca)
                self._revoked = revoked | {each for each in self._revoked if each[0] not in issuers}
            except UsageError as error:
                _log.error("%s; what was revoked before still is", error.message, extra={"action": "certificate"})
        return (issuer, serial) in self._revoked

    def _look(self) -> tuple[int, ...]:
        try:
            status = os.stat(self._path)
        except OSError:
            return ()
        return status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size


def read(path: Path, client_ca: Path) -> Revoked:
    """Raises UsageError with the file and what to do."""
    return _read(path, client_ca)[0]


def _read(path: Path, client_ca: Path) -> tuple[Revoked, frozenset[str]]:
    """What was taken back, and the names of those whose lists say so. Raises UsageError."""
    from cryptography import x509
    from cryptography.exceptions import UnsupportedAlgorithm

    try:
        pem = path.read_bytes()
        authorities = x509.load_pem_x509_certificates(client_ca.read_bytes())
        lists = [x509.load_pem_x509_crl(part) for part in _LIST.findall(pem)]
        if not lists:
            raise UsageError(f"tls.crl: {path} holds no list in PEM: it begins with -----BEGIN X509 CRL-----")
        for each in lists:
            _check(path, each, authorities)
        # A part of a list is parsed when it is looked at, and what is wrong with it told only then.
        revoked = frozenset((each.issuer.rfc4514_string(), revoked.serial_number) for each in lists for revoked in each)
        return revoked, frozenset(each.issuer.rfc4514_string() for each in lists)
    except OSError as error:
        raise UsageError(f"tls.crl: {error.filename} cannot be read: {error.strerror}") from None
    except (ValueError, TypeError, x509.InvalidVersion, UnsupportedAlgorithm):
        raise UsageError(f"tls.crl: {path} is no list of revoked certificates in PEM that can be read") from None


def _check(path: Path, list: CertificateRevocationList, authorities: Sequence[Certificate]) -> None:
    """Raises UsageError unless it is of one of the authorities. One that is out of date is better than none."""
    for authority in authorities:
        key = authority.public_key()
        if authority.subject == list.issuer and list.is_signature_valid(key):  # type: ignore[arg-type]  # of authorities
            break
    else:
        raise UsageError(
            f"tls.crl: {path} has a list of {list.issuer.rfc4514_string()}, which is no authority of tls.client_ca"
        )
    if list.next_update_utc is not None and list.next_update_utc < datetime.now(UTC):
        _log.warning(
            "the list of revoked certificates in %s should have been replaced by %s",
            path,
            f"{list.next_update_utc:%Y-%m-%d}",
            extra={"action": "certificate"},
        )
