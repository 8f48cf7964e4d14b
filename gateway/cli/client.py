"""The gateway's own API as a client sees it, with its refusals as failures of the command."""

import re
from collections.abc import Mapping
from types import TracebackType
from typing import Any, NamedTuple, Self, cast
from urllib.parse import quote

import httpx

from gateway.cli.failures import CommandError, ExitCode, code_of_status

LONGEST_WAIT_SECONDS = 20
_SECONDS = 30.0
_KEY = re.compile(r"[!-~]+")
_HINTS = {
    ExitCode.DENIED: "See the key that was used: --key-file, the environment, or dev.json.",
    ExitCode.RATE_LIMITED: "Try again a little later.",
    ExitCode.UNREACHABLE: "`gateway health --url` asks it whether it is ready.",
}


class Access(NamedTuple):
    """Where the API is, the key to use, and the tenant that a service key acts for."""

    root: str
    key: str
    tenant: str | None = None


class Api:
    """Calls with one key; every refusal raises CommandError. A context manager."""

    def __init__(self, access: Access) -> None:
        if not _KEY.fullmatch(access.key):
            raise CommandError("the access key is malformed", ExitCode.USAGE)
        headers = {"Authorization": access.key}
        if access.tenant is not None:
            headers["Gateway-Tenant"] = quote(access.tenant)
        self._root = access.root.rstrip("/")
        try:
            self._client = httpx.Client(base_url=self._root, headers=headers, timeout=_SECONDS)
        except httpx.InvalidURL as error:
            raise CommandError(f"the API's URL is malformed: {error}", ExitCode.USAGE) from None

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
        """The object that a call answers."""
        answer = self._send(method, path, json=body, params=params, headers=headers)
        if isinstance(answer, dict):
            return cast("dict[str, Any]", answer)
        raise self._not_a_gateway()

    def listed(
        self,
        path: str,
        *,
        method: str = "GET",
        body: object = None,
        params: Mapping[str, Any] | None = None,
    ) -> list[dict[str, Any]]:
        """The list that a call answers, only its first page."""
        answer = self._send(method, path, json=body, params=params)
        if isinstance(answer, list):
            return cast("list[dict[str, Any]]", answer)
        raise self._not_a_gateway()

    def _send(self, method: str, path: str, **options: Any) -> object:  # noqa: ANN401 - httpx's
        try:
            answer = self._client.request(method, path, **options)
        except httpx.HTTPError as error:
            raise CommandError(
                f"{self._root} does not answer: {error or type(error).__name__}",
                ExitCode.UNREACHABLE,
                "Is `gateway serve` running there? --api or GATEWAY_API names another.",
            ) from None
        except ValueError as error:  # such as half a surrogate pair
            raise CommandError(f"this cannot be sent: {error}", ExitCode.USAGE) from None
        try:
            content = answer.json()
        except ValueError:
            content = None
        if not answer.is_success:
            raise _refusal(answer.status_code, content, self._root)
        return content

    def _not_a_gateway(self) -> CommandError:
        return CommandError(f"what answers at {self._root} is not a gateway", ExitCode.UNREACHABLE)


def _refusal(status: int, content: object, root: str) -> CommandError:
    code = code_of_status(status)
    problem = cast("dict[str, Any]", content) if isinstance(content, dict) else {}
    text = problem.get("detail", f"{root} answered {status}")
    return CommandError(
        f"{text} ({problem['code']})" if "code" in problem else text, code, _HINTS.get(code, "")
    )
