"""Connections to Redis, and the reasons why it cannot be used."""
