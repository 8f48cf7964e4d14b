"""Jobs: create, read, wait for, list, export, and many at once."""
