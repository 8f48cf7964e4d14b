"""The Music AI API on this machine, with scripted jobs and scripted trouble.

`python -m gateway.simulator` serves it on two ports: the API under `/v1` and `/api`, and the file
store that its signed URLs lead to. `create_app` in `app` is the same service in process, and
`Simulator` in `server` embeds both ports in a running event loop. `POST /_control/...` on either
port sets it up and `GET /_control/...` tells what it saw; docs/simulator.md shows each.

A request's way: `connection` reads it (`http1`), `service` finds its route and the faults that hit
it, `api`, `files` or `control` answers, `trouble` spoils the answer. What there is lives in `state`.
The same seed and the same order of requests give the same ids, scripts and faults.
"""
