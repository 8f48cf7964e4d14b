"""The webhook sender: HTTP/1.1 with an SSRF guard, over connections of its own.

`sender` checks the URL and runs an `exchange`, which takes a connection from `connection_pool`, sends
the bytes of `request` and reads a `response`. `connector` opens new connections: `resolver` finds the
addresses, `ssrf_guard` admits or blocks each, `proxy_tunnel` leads through the egress proxy.
`errors` classifies failures, and `timings` measures the phases.
"""
