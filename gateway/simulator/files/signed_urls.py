"""Signed, expiring URLs of the file store, like those of a cloud bucket."""

from hashlib import blake2b
from hmac import compare_digest
from urllib.parse import quote


class Signer:
    """Signs a method, an object name and the time of expiry."""

    def __init__(self, seed: int) -> None:
        self.base = ""
        self._secret = f"simulator:{seed}".encode()

    def url(self, verb: str, name: str, expires: int) -> str:
        return f"{self.prefix(name)}{self.suffix(verb, name, expires)}"

    def prefix(self, name: str) -> str:
        """The unsigned URL; the names of a folder's files may follow before the suffix."""
        return f"{self.base}/{quote(name)}"

    def suffix(self, verb: str, name: str, expires: int) -> str:
        return f"?X-Expires={expires}&X-Signature={self._sign(verb, name, expires)}"

    def accepts(self, verb: str, name: str, expires: int, signature: str) -> bool:
        return compare_digest(self._sign(verb, name, expires).encode(), signature.encode())

    def _sign(self, verb: str, name: str, expires: int) -> str:
        text = f"{verb}\n{name}\n{expires}".encode()
        return blake2b(text, key=self._secret, digest_size=16).hexdigest()
