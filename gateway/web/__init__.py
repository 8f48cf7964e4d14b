"""The HTTP face: a thin front of plain ASGI, accept behind it by hand, the rest on Litestar."""
