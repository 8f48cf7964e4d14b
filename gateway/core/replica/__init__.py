"""Rules for reads from a standby: how far it is behind, and how fresh an answer must be."""
