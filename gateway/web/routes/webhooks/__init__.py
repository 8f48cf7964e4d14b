"""Endpoints, signing secrets, deliveries, and bulk operations."""
