"""What one API process has room for: limits, long requests, sample deliveries."""
