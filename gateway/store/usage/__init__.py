"""The roll-ups of usage: added to, read, checked."""
