"""Statements of the engine: jobs from their insert to their end."""
