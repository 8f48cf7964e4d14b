"""What a look at a receiver found on the way to it, step by step, before any request. Pure."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class FoundAddresses:
    """What the name of the host resolved to; without `seconds` the URL names the address itself."""

    addresses: tuple[str, ...]
    seconds: float | None = None
    fault: str = ""


@dataclass(frozen=True, slots=True)
class TriedAddress:
    """One try to connect; without a `fault` it succeeded. `seconds` is None where it did not end."""

    address: str
    seconds: float | None
    fault: str = ""


@dataclass(frozen=True, slots=True)
class ServerCertificate:
    """What a certificate says: whom it is for, who signed it, and until when it is valid."""

    names: tuple[str, ...]
    issuer: str
    not_after: datetime


@dataclass(frozen=True, slots=True)
class ProbedTls:
    """A TLS handshake. The certificate is known of a refused one, too, unless it cannot be read.

    `verify_code` is OpenSSL's reason to refuse a certificate; 0 where the fault is another one.
    `seconds` is None where it did not end.
    """

    seconds: float | None
    protocol: str = ""
    certificate: ServerCertificate | None = None
    fault: str = ""
    verify_code: int = 0


@dataclass(frozen=True, slots=True)
class ReceiverProbe:
    """What was found, up to the step that failed; None and empty for what was not reached.

    `refused` are the addresses that the SSRF guard does not admit: none of the host's is then
    called. `inside` are admitted ones that only an operator's setting allows.
    """

    url_fault: str = ""
    has_proxy: bool = False
    is_tls: bool = False
    lookup: FoundAddresses | None = None
    refused: tuple[str, ...] = ()
    inside: tuple[str, ...] = ()
    tried: tuple[TriedAddress, ...] = ()
    tls: ProbedTls | None = None

    @property
    def is_reached(self) -> bool:
        """Whether a request can be sent."""
        is_connected = bool(self.tried) and not self.tried[-1].fault
        return is_connected and (not self.is_tls or (self.tls is not None and not self.tls.fault))
