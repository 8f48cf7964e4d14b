"""The command `gateway`, also as `python -m gateway`."""

import io
import sys

_INTERRUPTED = 130


def main() -> None:
    """Run the command line of this process; ends it with one of `ExitCode`."""
    for stream in (sys.stdout, sys.stderr):
        # Characters that the terminal's encoding lacks are shown as escapes.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        from gateway.cli import cli  # noqa: PLC0415 - Ctrl-C may come while it is imported

        cli(prog_name="gateway")
    except KeyboardInterrupt:
        sys.exit(_INTERRUPTED)


if __name__ == "__main__":
    main()
