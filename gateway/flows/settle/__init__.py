"""Stage 4 of a job: its end, event, deliveries and usage in one transaction, and who waits for it."""
