"""What callers send and are shown, field by field."""
