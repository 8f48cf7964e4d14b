"""Reads the certificate of a receiver; what cannot be read is None."""

from cryptography import x509
from cryptography.x509.oid import NameOID

from gateway.core.webhooks.receiver_probe import ServerCertificate

_MOST_NAMES = 20
_LONGEST = 255


def read_certificate(raw: bytes) -> ServerCertificate | None:
    """The names, issuer and end of a certificate in DER."""
    try:
        read = x509.load_der_x509_certificate(raw)
        return ServerCertificate(
            _names(read)[:_MOST_NAMES], _issuer(read.issuer)[:_LONGEST], read.not_valid_after_utc
        )
    except (ValueError, TypeError, OverflowError, x509.DuplicateExtension):
        return None


def _names(read: x509.Certificate) -> tuple[str, ...]:
    try:
        extension = read.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return tuple(_values(read.subject, NameOID.COMMON_NAME))
    names = extension.value.get_values_for_type(x509.DNSName)
    addresses = extension.value.get_values_for_type(x509.IPAddress)
    return (*(one[:_LONGEST] for one in names), *map(str, addresses))


def _issuer(name: x509.Name) -> str:
    """The organization and the common name of an issuer, as far as it has them."""
    kinds = (NameOID.ORGANIZATION_NAME, NameOID.COMMON_NAME)
    return ", ".join(one for kind in kinds for one in _values(name, kind))


def _values(name: x509.Name, kind: x509.ObjectIdentifier) -> list[str]:
    found = (one.value for one in name.get_attributes_for_oid(kind))
    return [one[:_LONGEST] for one in found if isinstance(one, str)]
