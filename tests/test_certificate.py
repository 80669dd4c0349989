"""notBefore of a certificate."""

from __future__ import annotations

import contextlib
import ssl
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from edge.certificate import not_before
from edge.errors import CertificateError

KEY = ec.generate_private_key(ec.SECP256R1())


def certificate(begin: datetime, name: str = "box-1", serial: int = 1) -> bytes:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(KEY.public_key())
        .serial_number(serial)
        .not_valid_before(begin)
        .not_valid_after(datetime(2110, 1, 1, tzinfo=UTC))
        .sign(KEY, hashes.SHA256())
        .public_bytes(serialization.Encoding.PEM)
    )


GOOD = certificate(datetime(2026, 7, 1, 12, 30, 59, tzinfo=UTC))
DER = ssl.PEM_cert_to_DER_cert(GOOD.decode())

moments = st.integers(-599_600_000, 4_102_444_799).map(lambda second: datetime.fromtimestamp(second, UTC))
"""1951 to 2099."""


@given(moments, st.text("abc", min_size=1, max_size=60), st.integers(1, 2**150))
def test_it_is_what_cryptography_says_it_is(begin: datetime, name: str, serial: int) -> None:
    assert not_before(certificate(begin, name, serial)) == begin


def test_a_file_with_text_and_a_chain_gives_the_first(tmp_path: Path) -> None:
    later = certificate(datetime(2030, 1, 1, tzinfo=UTC))
    assert not_before(b"subject=box-1\n" + GOOD.replace(b"\n", b"\r\n") + later) == datetime(
        2026, 7, 1, 12, 30, 59, tzinfo=UTC
    )


@given(st.binary(max_size=300))
def test_noise_is_no_certificate(noise: bytes) -> None:
    with pytest.raises(CertificateError):
        not_before(noise)


@given(st.lists(st.tuples(st.integers(0, len(DER) - 1), st.integers(0, 255)), max_size=4), st.integers(0))
def test_damage_gives_a_date_or_a_reason_and_nothing_else(damage: list[tuple[int, int]], length: int) -> None:
    der = bytearray(DER)
    for at, value in damage:
        der[at] = value
    pem = ssl.DER_cert_to_PEM_cert(bytes(der[: length % (len(der) + 1)])).encode()
    with contextlib.suppress(CertificateError):
        assert not_before(pem).tzinfo


@pytest.mark.parametrize(
    "pem",
    [
        b"",
        b"-----BEGIN CERTIFICATE-----\n=AAA\n-----END CERTIFICATE-----",
        b"-----BEGIN CERTIFICATE-----\nAAA\n-----END CERTIFICATE-----",
        b"-----BEGIN CERTIFICATE-----\n\n-----END CERTIFICATE-----",
        ssl.DER_cert_to_PEM_cert(DER.replace(b"260701123059Z", b"260731993059Z")).encode(),
        ssl.DER_cert_to_PEM_cert(DER.replace(b"260701123059Z", b"26070112305+Z")).encode(),
        ssl.DER_cert_to_PEM_cert(b"\x30\x80" + DER[2:]).encode(),
    ],
)
def test_what_is_not_of_rfc_5280_is_refused(pem: bytes) -> None:
    with pytest.raises(CertificateError):
        not_before(pem)
