"""How answers are made: problem details, pages, CSV, long polls, server-sent events."""
