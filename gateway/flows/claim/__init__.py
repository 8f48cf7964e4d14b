"""Claims: how work is taken for the length of a lease, and what happens when the database is away."""
