"""The HTTP API: a thin ASGI layer in front, POST /job written by hand, all else on Litestar."""
