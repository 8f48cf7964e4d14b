"""Commands that only look: at usage, the audit, queues, workflows, and the key itself."""
