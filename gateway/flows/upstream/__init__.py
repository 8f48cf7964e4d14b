"""What is asked of the upstream beside submits and polls, and the circuit breaker of a credential."""
