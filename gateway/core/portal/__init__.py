"""The portal of a tenant: its pages, its look, and the addresses that it may name."""
