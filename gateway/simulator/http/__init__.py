"""The simulator on the wire: sockets, HTTP/1.1, resets and drips."""
