"""The revision of the schema, and the way to the one that is needed."""
