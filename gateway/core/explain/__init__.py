"""Explanations for people: why a job or a webhook is as it is, who acts, what to do. Pure."""
