"""The routes under /_control, by which tests set up and look."""
