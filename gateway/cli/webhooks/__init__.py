"""Commands about endpoints and what was delivered."""
