"""The revision of the schema, and the upgrade to the one that the code needs."""
