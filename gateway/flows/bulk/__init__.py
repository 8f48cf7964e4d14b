"""Bulk operations: many jobs or deliveries, in batches that survive the process."""
