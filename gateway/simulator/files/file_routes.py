"""The routes of the file store: signed uploads, downloads and results; errors are XML."""

from urllib.parse import unquote

from gateway.simulator.files.media import content
from gateway.simulator.http.messages import RefusedError, Request, Response, parse_query
from gateway.simulator.state import State

XML = "application/xml; charset=UTF-8"


def perform(state: State, request: Request) -> Response:
    """PUT and GET of `/moises/<object>`, GET of `/results/<job>/<file>`, all signed."""
    try:
        return _perform(state, request)
    except RefusedError as refusal:
        return refusal.response


def _perform(state: State, request: Request) -> Response:
    folder, _, leaf = request.path.lstrip("/").partition("/")
    if folder == "moises":
        return _object(state, request, unquote(f"{folder}/{leaf}"))
    if folder == "results" and request.method in {"GET", "HEAD"}:
        job_id, _, name = leaf.partition("/")
        return _result(state, request, job_id, unquote(name))
    raise _refuse(404, "NoSuchKey", "The specified key does not exist.")


def _object(state: State, request: Request, name: str) -> Response:
    if request.method == "PUT":
        _check(state, request, "PUT", name)
        content_type = request.headers.get("content-type", "application/octet-stream")
        state.storage.put(name, request.body, content_type)
        return Response(200, b"", "text/html; charset=UTF-8")
    _check(state, request, "GET", name)
    found = state.storage.get(name)
    if found is None:
        raise _refuse(404, "NoSuchKey", "The specified key does not exist.")
    return Response(200, *found)


def _result(state: State, request: Request, job_id: str, name: str) -> Response:
    _check(state, request, "GET", f"results/{job_id}")
    if job_id not in state.jobs.by_id:
        raise _refuse(404, "NoSuchKey", "The specified key does not exist.")
    return Response(200, *content(name))


def _check(state: State, request: Request, verb: str, name: str) -> None:
    query = parse_query(request.query)
    expires, signature = query.get("X-Expires", [""])[0], query.get("X-Signature", [""])[0]
    if not expires.isdecimal() or not state.signer.accepts(verb, name, int(expires), signature):
        raise _refuse(403, "SignatureDoesNotMatch", "The request signature does not match.")
    if int(expires) <= state.clock.now():
        status = state.layers.resolve("").expired_status
        raise _refuse(status, "ExpiredToken", "The provided token has expired.")


def _refuse(status: int, code: str, message: str) -> RefusedError:
    body = (
        "<?xml version='1.0' encoding='UTF-8'?>"
        f"<Error><Code>{code}</Code><Message>{message}</Message></Error>"
    )
    return RefusedError(Response(status, body.encode(), XML))
