"""The one way to Redis, and why it cannot be used."""
