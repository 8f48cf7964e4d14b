"""Commands about events: listed, followed, forwarded, and made for a trial."""
