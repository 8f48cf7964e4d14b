"""Stage 1 of a job: authenticate the caller and store the job before the answer."""
