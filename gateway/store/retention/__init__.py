"""Pruning: the rules that say which rows are too old to keep, and their deletion."""
