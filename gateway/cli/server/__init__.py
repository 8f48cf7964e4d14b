"""Commands that run a server until SIGTERM, and the health check."""
