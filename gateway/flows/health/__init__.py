"""How the gateway is: heartbeats, readiness, status, overview."""
