"""Commands that run until SIGTERM, and the health check of one."""
