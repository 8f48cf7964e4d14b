"""Maintenance: the sweep, pruning, the check of usage."""
