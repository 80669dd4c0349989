"""When a certificate begins to be valid: the one thing the start step must know of it, before TLS can run.

A walk over the outermost elements of the DER form (ITU-T X.690) as RFC 5280 section 4.1 lays them out. The
signature is not looked at: whoever can replace the file can do worse than to set a clock.
"""

from __future__ import annotations

import base64
import binascii
import re
from datetime import UTC, datetime

from edge.errors import CertificateError

MAX_BYTES = 64 * 1024
_PEM = re.compile(rb"-----BEGIN CERTIFICATE-----\s*([A-Za-z0-9+/=\s]+?)\s*-----END CERTIFICATE-----")
_SEQUENCE, _INTEGER, _UTC_TIME, _GENERALIZED_TIME, _VERSION = 0x30, 0x02, 0x17, 0x18, 0xA0


def not_before(pem: bytes) -> datetime:
    """The notBefore of the first certificate in a PEM file.

    Raises:
        CertificateError: there is no certificate, or it is not one of RFC 5280.
    """
    found = _PEM.search(pem[:MAX_BYTES])
    if found is None:
        raise CertificateError("no certificate in PEM form")
    try:
        der = base64.b64decode(b"".join(found[1].split()), validate=True)
    except binascii.Error:
        raise CertificateError("the certificate's base64 is damaged") from None
    certificate, _ = _element(der, _SEQUENCE)
    rest, _ = _element(certificate, _SEQUENCE)
    if rest[:1] == bytes([_VERSION]):
        _, rest = _element(rest, _VERSION)
    # serialNumber, signature, issuer, validity
    for tag in (_INTEGER, _SEQUENCE, _SEQUENCE):
        _, rest = _element(rest, tag)
    validity, _ = _element(rest, _SEQUENCE)
    if validity[:1] == bytes([_UTC_TIME]):
        text, _ = _element(validity, _UTC_TIME)
        # RFC 5280 section 4.1.2.5.1: two digits from 50 on are of the twentieth century.
        return _moment((b"19" if text[:2] >= b"50" else b"20") + text)
    text, _ = _element(validity, _GENERALIZED_TIME)
    return _moment(text)


def _element(data: bytes, tag: int) -> tuple[bytes, bytes]:
    """The content of the element `data` begins with, and what follows it."""
    if len(data) < 2 or data[0] != tag:
        raise CertificateError("the certificate is not laid out as RFC 5280 says")
    length, start = data[1], 2
    if length & 0x80:
        size = length & 0x7F
        start += size
        if not 1 <= size <= 4 or len(data) < start:
            raise CertificateError("the certificate has an element without a proper length")
        length = int.from_bytes(data[2:start], "big")
    if len(data) < start + length:
        raise CertificateError("the certificate is cut short")
    return data[start : start + length], data[start + length :]


def _moment(text: bytes) -> datetime:
    if not re.fullmatch(rb"[0-9]{14}Z", text):
        raise CertificateError("the certificate's notBefore is not a time in UTC")
    try:
        return datetime.strptime(text.decode(), "%Y%m%d%H%M%SZ").replace(tzinfo=UTC)
    except ValueError:
        raise CertificateError("the certificate's notBefore is not on the calendar") from None
