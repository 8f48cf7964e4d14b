"""Deliveries of a filter in the order of their ids."""
