"""A client of the gateway's own API, whose refusals become failures of the command."""

import re
from collections.abc import Callable, Iterator, Mapping
from types import TracebackType
from typing import Any, NamedTuple, Self, cast
from urllib.parse import parse_qs, quote, urlsplit

import httpx

from gateway.cli.api.connection import open_client
from gateway.cli.terminal.exact_json import dumps, loads
from gateway.cli.terminal.failures import CommandError, ExitCode, code_of_status
from gateway.core.text.printable import printable

LONGEST_WAIT_SECONDS = 20
_SECONDS = 30.0
_CURSORS = ("cursor", "after")
_KEY = re.compile(r"[!-~]+")
_HINTS = {
    ExitCode.DENIED: "`gateway whoami` shows the key in use: from --key-file, the environment, or dev.json.",
    ExitCode.RATE_LIMITED: "Try again later.",
    ExitCode.UNREACHABLE: "`gateway health --url` asks it whether it is ready.",
}


class ApiAccess(NamedTuple):
    """Where the API is, the key to use, and the tenant that a service key acts for.

    `found_in` is the hint of a 404: which tenant was searched.
    """

    root: str
    key: str
    tenant: str | None = None
    found_in: str = ""


class ApiPage(NamedTuple):
    """One page of a list, and the cursor of the next page; None at the end."""

    rows: list[dict[str, Any]]
    cursor: str | None


class Api:
    """Calls with one key; every refusal raises CommandError. A context manager."""

    def __init__(self, access: ApiAccess) -> None:
        if not _KEY.fullmatch(access.key):
            raise CommandError("the access key is malformed", ExitCode.USAGE)
        self.headers = {"Authorization": access.key}
        if access.tenant is not None:
            self.headers["Gateway-Tenant"] = quote(access.tenant)
        self.root = access.root.rstrip("/")
        self.tenant = access.tenant
        self._found_in = access.found_in
        self._client = open_client(self.root, self.headers, _SECONDS)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close its connections."""
        self._client.close()

    def call(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        params: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> dict[str, Any]:
        """Call the API and return the object in its response."""
        _, content = self._send(method, path, body, params=params, headers=headers)
        if isinstance(content, dict):
            return cast("dict[str, Any]", content)
        raise self._not_a_gateway()

    def listed(
        self,
        path: str,
        *,
        method: str = "GET",
        body: object = None,
        params: Mapping[str, Any] | None = None,
    ) -> list[dict[str, Any]]:
        """Call the API and return the list in its response, only the first page."""
        _, content = self._send(method, path, body, params=params)
        if isinstance(content, list):
            return cast("list[dict[str, Any]]", content)
        raise self._not_a_gateway()

    def page(self, path: str, params: Mapping[str, Any] | None = None) -> ApiPage:
        """Return one page of a list, and the cursor of the next one."""
        answer, content = self._send("GET", path, params=params)
        if not isinstance(content, list):
            raise self._not_a_gateway()
        # Use only the cursor of the link: its host and path may be those of a proxy.
        link = answer.links.get("next", {}).get("url", "")
        query = parse_qs(urlsplit(link).query)
        cursor = next((query[name][-1] for name in _CURSORS if name in query), None)
        return ApiPage(cast("list[dict[str, Any]]", content), cursor)

    def pages(
        self, path: str, params: Mapping[str, Any] | None = None
    ) -> Iterator[list[dict[str, Any]]]:
        """Yield all pages of a list."""
        page = self.page(path, params)
        yield page.rows
        while page.cursor is not None:
            page = self.page(path, {**(params or {}), "cursor": page.cursor})
            yield page.rows

    def download(
        self, path: str, take: Callable[[bytes], object], params: Mapping[str, Any] | None = None
    ) -> None:
        """Stream the body of a response to `take`, so that a large one is never in memory."""
        try:
            with self._client.stream("GET", path, params=params) as answer:
                if not answer.is_success:
                    answer.read()
                    raise self._refusal(answer)
                for piece in answer.iter_bytes():
                    take(piece)
        except (httpx.RemoteProtocolError, httpx.ReadError):
            raise CommandError(
                "the response is incomplete: the connection broke",
                ExitCode.UNREACHABLE,
                "Try again: the API process was stopped, or lost its database.",
            ) from None
        except httpx.HTTPError as error:
            raise self._silent(error) from None

    def _send(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        params: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> tuple[httpx.Response, object]:
        try:
            content, own = _json(body)
            answer = self._client.request(
                method, path, content=content, params=params, headers={**own, **(headers or {})}
            )
        except httpx.HTTPError as error:
            raise self._silent(error) from None
        except ValueError as error:  # such as an unpaired surrogate
            raise CommandError(f"this cannot be sent: {error}", ExitCode.USAGE) from None
        content = _content(answer)
        if not answer.is_success:
            raise self._refusal(answer)
        return answer, content

    def _refusal(self, answer: httpx.Response) -> CommandError:
        error = refusal(answer, self.root)
        if error.code is ExitCode.NOT_FOUND:
            error.hint = self._found_in
        return error

    def _silent(self, error: httpx.HTTPError) -> CommandError:
        return CommandError(
            f"{self.root} does not answer: {error or type(error).__name__}",
            ExitCode.UNREACHABLE,
            "Is `gateway serve` running there? Set another address with --api or GATEWAY_API.",
        )

    def _not_a_gateway(self) -> CommandError:
        return CommandError(f"the server at {self.root} is not a gateway", ExitCode.UNREACHABLE)


def refusal(answer: httpx.Response, root: str) -> CommandError:
    """Turn an error response, whose body was read, into the failure of the command."""
    code, content = code_of_status(answer.status_code), _content(answer)
    problem = cast("dict[str, Any]", content) if isinstance(content, dict) else {}
    text = printable(str(problem.get("detail", f"{root} answered {answer.status_code}")))
    if "code" not in problem:
        return CommandError(text, code, _HINTS.get(code, ""))
    return CommandError(f"{text} ({problem['code']})", code, _HINTS.get(code, ""), problem=problem)


def _json(body: object) -> tuple[bytes | None, dict[str, str]]:
    """A body and its headers; raises ValueError if it is not Unicode."""
    if body is None:
        return None, {}
    return dumps(body).encode(), {"Content-Type": "application/json"}


def _content(answer: httpx.Response) -> object:
    try:
        return loads(answer.content)
    except ValueError:
        return None
