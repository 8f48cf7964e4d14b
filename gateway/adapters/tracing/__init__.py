"""Traces over OpenTelemetry; imported only if the environment asks for traces."""
