"""Reads for callers: the event feed, the timeline of a job, exports."""
