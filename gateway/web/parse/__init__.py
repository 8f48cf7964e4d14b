"""Strict reading of what callers send, and every error at its place."""
