"""Commands that only read: usage, audit, status, queues, workflows, and the key in use."""
