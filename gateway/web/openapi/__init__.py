"""OpenAPI: what the routes read, answer and refuse, described once at start and frozen."""
