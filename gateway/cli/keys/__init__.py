"""Access keys, in the database or through the operators' API."""
