"""The handlers under /admin/v1."""
