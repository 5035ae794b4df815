"""The list of certificates that an authority has taken back, as a file beside it."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from runner import privatefile
from runner.errors import UsageError

CRL_FILE = "crl.pem"


def read(folder: Path, authority: x509.Certificate) -> list[x509.RevokedCertificate]:
    """What is on it; nothing where there is none. Raises UsageError for what is no list."""
    file = folder / CRL_FILE
    try:
        known = x509.load_pem_x509_crl(file.read_bytes())
    except FileNotFoundError:
        return []
    except ValueError:
        raise UsageError(f"{file} is no list of revoked certificates: put back what was there") from None
    # Of an authority that was replaced nobody is believed any more.
    return list(known) if known.issuer == authority.subject else []


def write(
    folder: Path,
    authority: x509.Certificate,
    key: ec.EllipticCurvePrivateKey,
    revoked: Iterable[x509.RevokedCertificate],
    *,
    since: datetime,
) -> None:
    """Put a list of these in the place of the one that is there; it is on the disk then."""
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(authority.subject)
        .last_update(since)
        .next_update(authority.not_valid_after_utc)
    )
    for each in revoked:
        builder = builder.add_revoked_certificate(each)
    pem = builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    privatefile.write(folder / CRL_FILE, pem, mode=0o644, replace=True)
    privatefile.sync_folder(folder)
