"""Helpers for the operating system: listening sockets, file limits, private files, a watchdog."""
