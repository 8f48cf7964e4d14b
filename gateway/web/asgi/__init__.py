"""Plain ASGI: headers, targets and bodies of requests before they are routed."""
