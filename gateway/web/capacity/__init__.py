"""Limits of one API process: HTTP limits, long requests, sample deliveries."""
