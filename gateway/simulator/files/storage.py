"""Keeps uploads in memory, up to a limit."""

MOST_BYTES = 256 * 1024 * 1024


class Storage:
    """Objects by name; beyond 256 MiB the oldest are dropped as if they had expired."""

    def __init__(self) -> None:
        self._objects: dict[str, tuple[bytes, str]] = {}
        self._size = 0

    def put(self, name: str, content: bytes, content_type: str) -> None:
        self.drop(name)
        self._objects[name] = (content, content_type)
        self._size += len(content)
        while self._size > MOST_BYTES and len(self._objects) > 1:
            self.drop(next(iter(self._objects)))

    def get(self, name: str) -> tuple[bytes, str] | None:
        return self._objects.get(name)

    def drop(self, name: str) -> None:
        content, _ = self._objects.pop(name, (b"", ""))
        self._size -= len(content)
