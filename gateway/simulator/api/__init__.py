"""The upstream's routes and the JSON of its jobs."""
