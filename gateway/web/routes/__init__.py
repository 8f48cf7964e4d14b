"""The handlers, a file for each group of routes."""
