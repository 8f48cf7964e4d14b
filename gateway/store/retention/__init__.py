"""What is older than it is to be kept, and by which rules it goes."""
