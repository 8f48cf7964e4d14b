"""Where the settings come from, and the addresses of Postgres and Redis that they hold."""
