"""Responses: problem details, pages, CSV, downloads, server-sent events."""
