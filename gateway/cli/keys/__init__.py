"""Access keys, in the database or through the API of operators."""
