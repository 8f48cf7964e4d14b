"""Screens that only the portal of a tenant has."""
