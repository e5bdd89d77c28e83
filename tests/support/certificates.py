"""A certificate authority for the tests, made once a run, and the TLS contexts made with it."""

from __future__ import annotations

import ipaddress
import ssl
import tempfile
import warnings
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

DEFAULT_NAMES = ("127.0.0.1", "localhost", "example.com", "*.example.com")


@dataclass(frozen=True, slots=True)
class Authority:
    """A certificate that signs others, and its key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @property
    def pem(self) -> str:
        return self.certificate.public_bytes(serialization.Encoding.PEM).decode()


@cache
def authority() -> Authority:
    """Return the authority that `client_context` trusts."""
    return _new_authority("Receivers of the tests")


@cache
def unknown_authority() -> Authority:
    """Return an authority that no client trusts."""
    return _new_authority("Nobody's authority")


@cache
def server_context(
    names: tuple[str, ...] = DEFAULT_NAMES,
    *,
    signed_by: Authority | None = None,
    self_signed: bool = False,
    expired: bool = False,
    only_common_name: bool = False,
    only_tls_1_0: bool = False,
    only_tls_1_1: bool = False,
) -> ssl.SSLContext:
    """Return a receiver's TLS context with a certificate for these names and addresses."""
    issuer = signed_by or authority()
    key = ec.generate_private_key(ec.SECP256R1())
    now = datetime.now(UTC)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])])
    issued_by = subject if self_signed else issuer.certificate.subject
    builder = (
        _builder(names[0], issued_by, key.public_key())
        .not_valid_before(now - timedelta(days=30))
        .not_valid_after(now + timedelta(days=-1 if expired else 30))
    )
    if not only_common_name:
        alternative = x509.SubjectAlternativeName([_general_name(name) for name in names])
        builder = builder.add_extension(alternative, False)
    certificate = builder.sign(key if self_signed else issuer.key, hashes.SHA256())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    if only_tls_1_0 or only_tls_1_1:
        context.set_ciphers("ALL:@SECLEVEL=0")
        with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
            newest = ssl.TLSVersion.TLSv1 if only_tls_1_0 else ssl.TLSVersion.TLSv1_1
            context.minimum_version, context.maximum_version = ssl.TLSVersion.TLSv1, newest
    with tempfile.TemporaryDirectory() as directory:
        chain = Path(directory) / "chain.pem"
        chain.write_bytes(
            certificate.public_bytes(serialization.Encoding.PEM)
            + key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        context.load_cert_chain(chain)
    return context


def client_context() -> ssl.SSLContext:
    """Return a sender's TLS context that trusts only the tests' authority."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_verify_locations(cadata=authority().pem)
    return context


def _new_authority(name: str) -> Authority:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    certificate = (
        _builder(name, subject, key.public_key())
        .not_valid_before(now - timedelta(days=60))
        .not_valid_after(now + timedelta(days=60))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), True)
        .sign(key, hashes.SHA256())
    )
    return Authority(certificate, key)


def _builder(
    name: str, issuer: x509.Name, public_key: ec.EllipticCurvePublicKey
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
    )


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)
