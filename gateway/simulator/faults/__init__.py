"""Scripted faults: which requests they hit, and what happens instead of the normal response."""
