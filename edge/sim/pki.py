"""Certificates for a demo, a test or a bench: its own CA, made on the spot and never part of the product.

A city brings its own CA; what its certificates must hold is the same as here: ECDSA on P-256, the device id
as the common name, clientAuth for boxes and desks, serverAuth and a subjectAltName for the broker.
"""

from __future__ import annotations

import ipaddress
import os
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from edge.clock import Clock, SystemClock

DAYS = 365
HOST_OF_GUEST = "10.0.2.2"
"""The host, as a guest on QEMU's user network sees it."""
RENEW_DAYS = 30
"""What has less than this left is made anew."""


@dataclass(frozen=True)
class Identity:
    """A certificate and its private key, as files."""

    cert: Path
    key: Path


class Pki:
    """A folder with a CA and what it issued; what is there and still valid is kept."""

    def __init__(self, folder: Path, clock: Clock | None = None) -> None:
        self._folder = folder
        now = (clock or SystemClock()).utc_ns() // 1_000_000_000
        self._now = datetime.fromtimestamp(now, UTC)
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.ca = folder / "ca.pem"
        """The CA's certificate, for those who check."""
        ca_key = folder / "ca.key"
        if not self._valid(self.ca) or not ca_key.exists():
            for old in folder.glob("*.pem"):
                old.unlink()  # all of them were signed by the CA that goes
            self._make_ca(ca_key)
        self._ca_cert = x509.load_pem_x509_certificate(self.ca.read_bytes())
        key = serialization.load_pem_private_key(ca_key.read_bytes(), None)
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        self._ca_key = key

    def client(self, name: str) -> Identity:
        """The identity of a box or a desk; `name` is its id."""
        return self._issue(name, ExtendedKeyUsageOID.CLIENT_AUTH, None)

    def broker(self) -> Identity:
        """The broker's identity, for this machine as it and a virtual machine on it see it."""
        names: list[x509.GeneralName] = [
            x509.DNSName("localhost"),
            *(x509.IPAddress(ipaddress.ip_address(a)) for a in ("127.0.0.1", HOST_OF_GUEST)),
        ]
        return self._issue("broker", ExtendedKeyUsageOID.SERVER_AUTH, x509.SubjectAlternativeName(names))

    def _issue(
        self, name: str, use: x509.ObjectIdentifier, alt: x509.SubjectAlternativeName | None
    ) -> Identity:
        identity = Identity(self._folder / f"{name}.pem", self._folder / f"{name}.key")
        if self._valid(identity.cert) and identity.key.exists():
            return identity
        key = ec.generate_private_key(ec.SECP256R1())
        builder = (
            self._builder(name, key.public_key())
            .issuer_name(self._ca_cert.subject)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.ExtendedKeyUsage([use]), critical=True)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self._ca_key.public_key()), critical=False
            )
        )
        if alt is not None:
            builder = builder.add_extension(alt, critical=False)
        _write_key(identity.key, key)
        cert = builder.sign(self._ca_key, hashes.SHA256())
        identity.cert.write_bytes(cert.public_bytes(serialization.Encoding.PEM))
        return identity

    def _make_ca(self, key_path: Path) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        # Its own name each time, or a client that remembers an older CA takes it for this one.
        name = f"Edge development CA {os.urandom(4).hex()}"
        usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
        builder = self._builder(name, key.public_key())
        cert = (
            builder.issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(usage, critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .sign(key, hashes.SHA256())
        )
        _write_key(key_path, key)
        self.ca.write_bytes(cert.public_bytes(serialization.Encoding.PEM))

    def _builder(self, name: str, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
            .public_key(key)
            .serial_number(x509.random_serial_number())
            # A day back: clocks in a city differ.
            .not_valid_before(self._now - timedelta(days=1))
            .not_valid_after(self._now + timedelta(days=DAYS))
        )

    def _valid(self, cert: Path) -> bool:
        try:
            until = x509.load_pem_x509_certificate(cert.read_bytes()).not_valid_after_utc
        except (OSError, ValueError):
            return False
        return until > self._now + timedelta(days=RENEW_DAYS)


def _write_key(path: Path, key: ec.EllipticCurvePrivateKey) -> None:
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.unlink(missing_ok=True)
    path.touch(mode=0o600, exist_ok=False)  # never readable by others, not even while it is empty
    path.write_bytes(pem)
