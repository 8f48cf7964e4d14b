"""Commands that run a whole gateway on this machine."""
