"""Certificates made on the spot."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from edge.clock import ManualClock
from edge.sim.pki import Pki

NOW = datetime(2027, 1, 15, 8, tzinfo=UTC)


def _clock(days: int = 0) -> ManualClock:
    return ManualClock(utc_ns=round((NOW + timedelta(days=days)).timestamp()) * 10**9)


def test_a_clients_certificate_names_it_and_is_for_clients_only(tmp_path: Path) -> None:
    pki = Pki(tmp_path, _clock())
    cert = x509.load_pem_x509_certificate(pki.client("box-1").cert.read_bytes())
    assert cert.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value == "box-1"
    use = cert.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(use) == [ExtendedKeyUsageOID.CLIENT_AUTH]
    key = cert.public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    assert key.curve.name == "secp256r1"
    cert.verify_directly_issued_by(x509.load_pem_x509_certificate(pki.ca.read_bytes()))


def test_the_brokers_certificate_is_for_this_machine_alone(tmp_path: Path) -> None:
    cert = x509.load_pem_x509_certificate(Pki(tmp_path, _clock()).broker().cert.read_bytes())
    names = cert.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["localhost"]
    assert [str(a) for a in names.get_values_for_type(x509.IPAddress)] == ["127.0.0.1", "10.0.2.2"]


def test_certificates_hold_from_a_day_back_and_no_ca_key_is_readable_by_others(tmp_path: Path) -> None:
    pki = Pki(tmp_path, _clock())
    pki.client("box-1")
    cert = x509.load_pem_x509_certificate((tmp_path / "box-1.pem").read_bytes())
    assert cert.not_valid_before_utc == NOW - timedelta(days=1)
    keys = list(tmp_path.glob("*.key"))
    assert len(keys) == 2
    assert {oct(k.stat().st_mode & 0o777) for k in keys} == {"0o600"}


def test_what_is_valid_is_kept_and_what_ends_soon_is_made_anew(tmp_path: Path) -> None:
    first = Pki(tmp_path, _clock()).client("box-1").cert.read_bytes()
    assert Pki(tmp_path, _clock(days=300)).client("box-1").cert.read_bytes() == first
    renewed = Pki(tmp_path, _clock(days=340))
    second = x509.load_pem_x509_certificate(renewed.client("box-1").cert.read_bytes())
    assert second.public_bytes(Encoding.PEM) != first
    second.verify_directly_issued_by(x509.load_pem_x509_certificate(renewed.ca.read_bytes()))
