"""Plain ASGI: what comes in before routing, and answers written by hand."""
