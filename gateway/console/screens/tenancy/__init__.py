"""Tenants: the list, one tenant, and what operators change of it."""
