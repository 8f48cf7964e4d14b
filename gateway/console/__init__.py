"""The console: pages for people, rendered on the server, beside the API and upon the same flows."""
