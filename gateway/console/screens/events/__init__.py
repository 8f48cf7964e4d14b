"""Screens about events: the catalogue of their types, and the feed."""
