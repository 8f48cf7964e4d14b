"""Scripted faults: which request is hit, and what it is answered."""
