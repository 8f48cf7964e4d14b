"""The webhook sender: HTTP/1.1 with an SSRF guard, over connections of its own."""
