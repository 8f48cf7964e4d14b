"""A multi-tenant job gateway with signed webhooks."""

__version__ = "0.1.0"
