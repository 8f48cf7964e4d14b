"""When to act again: back-off, Retry-After, and the polling of jobs in flight."""
