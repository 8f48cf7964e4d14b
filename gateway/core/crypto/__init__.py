"""Access keys, and the sealing of secrets at rest."""
