"""The HTTP/1.1 server of the simulator, including resets and drips."""
