"""The command `gateway`, also as `python -m gateway`."""

from gateway.cli import cli


def main() -> None:
    """Run the command line of this process; ends it with one of `ExitCode`."""
    cli(prog_name="gateway")


if __name__ == "__main__":
    main()
