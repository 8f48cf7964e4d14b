"""Statements about tenants, keys, sealed values and the audit."""
