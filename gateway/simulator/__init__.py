"""A simulator of the Music AI API, with scripted jobs and scripted faults.

`python -m gateway.simulator` serves it on two ports: the API under `/v1` and `/api`, and the file
store that its signed URLs lead to. `create_app` in `app` runs the same service in process, and
`Simulator` in `server` runs both ports in a running event loop. `POST /_control/...` on either port
configures it, and `GET /_control/...` shows what it received; docs/simulator.md describes each.

The path of a request: `http/connection` reads it, `service` finds its route and its faults, `api`,
`files` or `control` answers, and `faults/answers` applies the faults. `state` holds all data. The
same seed and the same order of requests give the same ids, scripts and faults.
"""
