"""Connections to Postgres: how they are made, watched, and why they fail."""
