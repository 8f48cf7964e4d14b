"""Partitions of the jobs by month: switched on and off with the data in place (decision 31)."""
