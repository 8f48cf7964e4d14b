"""The handlers under /admin/v1, which need an operator key."""
