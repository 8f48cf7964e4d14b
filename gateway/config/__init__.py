"""Parsers for settings: secrets in files, and the URLs of Postgres and Redis."""
