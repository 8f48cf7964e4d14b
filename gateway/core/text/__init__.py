"""Text and JSON of others: merged, measured, and made harmless where it is shown."""
