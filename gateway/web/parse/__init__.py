"""Strict parsing of requests; every error names the wrong field."""
