"""What one process holds in memory: work slots, group commit, the restore detector."""
