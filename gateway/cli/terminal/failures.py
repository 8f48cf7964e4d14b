"""Failures of commands: a message of one line, a hint, and an exit status for scripts."""

from collections.abc import Mapping
from enum import IntEnum
from typing import Any

import click

from gateway.config.environment import InvalidSettingsError
from gateway.errors import DatabaseDenied, GatewayError, Unavailable
from gateway.host.listening import CannotListenError


class ExitCode(IntEnum):
    """The exit status of a command."""

    OK = 0
    ERROR = 1
    USAGE = 2
    NOT_FOUND = 3
    DENIED = 4
    CONFLICT = 5
    RATE_LIMITED = 6
    UNREACHABLE = 7
    JOB_FAILED = 8
    TIMED_OUT = 9
    INTERRUPTED = 130


_BY_STATUS = {
    400: ExitCode.USAGE,
    401: ExitCode.DENIED,
    403: ExitCode.DENIED,
    404: ExitCode.NOT_FOUND,
    409: ExitCode.CONFLICT,
    413: ExitCode.USAGE,
    422: ExitCode.CONFLICT,
    429: ExitCode.RATE_LIMITED,
}
_SERVER_ERROR = 500
_SETTINGS_HINT = "`gateway config docs` explains every setting."


class CommandError(Exception):
    """An expected failure of a command; the hint says what to do.

    `problem` holds the problem details if the API refused.
    """

    def __init__(
        self,
        message: str,
        code: ExitCode = ExitCode.ERROR,
        hint: str = "",
        *,
        problem: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.hint = hint
        self.problem = problem


def code_of_status(status: int) -> ExitCode:
    """Return the exit status for an HTTP status that is not a success."""
    if status >= _SERVER_ERROR:
        return ExitCode.UNREACHABLE
    return _BY_STATUS.get(status, ExitCode.ERROR)


def from_gateway(error: GatewayError) -> CommandError:
    """Turn an error of the gateway's own code, without the API, into the failure of a command."""
    problem: dict[str, Any] = {
        "title": error.title,
        "status": error.status,
        "code": error.code,
        "detail": error.detail,
    }
    if error.errors:
        problem["errors"] = [{"field": one.field, "reason": one.reason} for one in error.errors]
    if isinstance(error, Unavailable) and error.cause:
        return _of_database(error, problem)
    text = f"{error.detail} ({error.code})"
    return CommandError(text, code_of_status(error.status), problem=problem)


def _of_database(error: Unavailable, problem: Mapping[str, Any]) -> CommandError:
    """Name Postgres's address and the cause; advice about repeated requests would not apply here."""
    text = f"Postgres at {error.place}: {error.cause}"
    detailed = {**problem, "detail": text}
    if isinstance(error, DatabaseDenied):
        return CommandError(text, ExitCode.DENIED, "Check GATEWAY_DATABASE_URL.", problem=detailed)
    return CommandError(text, ExitCode.UNREACHABLE, problem=detailed)


def _of_start(error: CannotListenError | InvalidSettingsError) -> CommandError:
    if isinstance(error, CannotListenError):
        return CommandError(error.message, hint=error.hint)
    return CommandError(str(error), ExitCode.USAGE, _SETTINGS_HINT)


def failure_of(error: BaseException) -> CommandError:
    """Turn any expected failure into a CommandError."""
    match error:
        case CommandError():
            return error
        case GatewayError():
            return from_gateway(error)
        case CannotListenError() | InvalidSettingsError():
            return _of_start(error)
        case click.Abort() if not isinstance(error.__context__, KeyboardInterrupt):
            return CommandError("nothing was done")
        case click.ClickException():
            hint = _usage_of(error) if isinstance(error, click.UsageError) else ""
            return CommandError(error.format_message(), ExitCode(error.exit_code), hint)
        case _:
            return CommandError("interrupted", ExitCode.INTERRUPTED)


def problem_of(failure: CommandError) -> dict[str, Any]:
    """Return a failure as problem details (RFC 9457) with the hint and the exit status.

    If no HTTP response was the cause, `status` is null and `code` is the name of the exit status.
    """
    problem = failure.problem or {}
    detail = str(problem.get("detail", failure.message))
    return {
        "type": "about:blank",
        "title": failure.code.name.replace("_", " ").capitalize(),
        "status": None,
        "code": failure.code.name,
        "requestId": None,
        **problem,
        "detail": detail,
        "message": detail,
        "hint": failure.hint or None,
        "exitStatus": int(failure.code),
    }


def _usage_of(error: click.UsageError) -> str:
    if error.ctx is None:
        return ""
    return f"`{error.ctx.command_path} --help` explains how it is used."
