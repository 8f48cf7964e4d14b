"""Wake-ups and announcements over Redis, and the arq worker that runs on them."""
