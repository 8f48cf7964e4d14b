"""Stage 5 of a job: signed webhooks, their attempts, and the endpoints that receive them."""
