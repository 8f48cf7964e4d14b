"""The certificate authorities that the gateway trusts when it calls the upstream or a receiver."""

import ssl
from functools import cache

import certifi


def trusted_authorities() -> ssl.SSLContext:
    """Make a context for TLS 1.2 or later that trusts certifi's, the system's and private authorities.

    `SSL_CERT_FILE` and `SSL_CERT_DIR` name private ones, such as that of a proxy that inspects TLS.
    OpenSSL reads both itself, in place of the system's, and ignores what it cannot read.
    """
    context = ssl.create_default_context(cafile=certifi.where())
    context.load_default_certs()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    return context


@cache
def shared_authorities() -> ssl.SSLContext:
    """The context of all calls of this process, because to read the authorities takes 40 ms."""
    return trusted_authorities()
