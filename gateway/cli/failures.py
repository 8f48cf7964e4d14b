"""How a command says that it failed: one line, a hint, and an exit status that scripts can act on."""

from enum import IntEnum

from gateway.errors import GatewayError


class ExitCode(IntEnum):
    """What a command ends with."""

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


class CommandError(Exception):
    """An expected failure of a command; the hint says what to do about it."""

    def __init__(self, message: str, code: ExitCode = ExitCode.ERROR, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.hint = hint


def code_of_status(status: int) -> ExitCode:
    """The exit status for an HTTP status that is not a success."""
    if status >= _SERVER_ERROR:
        return ExitCode.UNREACHABLE
    return _BY_STATUS.get(status, ExitCode.ERROR)


def from_gateway(error: GatewayError) -> CommandError:
    """The failure of a command that worked without the API."""
    return CommandError(f"{error.detail} ({error.code})", code_of_status(error.status))
