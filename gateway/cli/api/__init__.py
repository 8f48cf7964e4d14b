"""How commands reach the API of a gateway."""
