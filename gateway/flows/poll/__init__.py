"""Stage 3 of a job: learn what became of it at the upstream, within a budget of calls."""
