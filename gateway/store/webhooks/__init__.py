"""Statements about endpoints, deliveries and attempts."""
