"""Stage 2 of a job: send it to the upstream, at most once, and reconcile what is in doubt."""
