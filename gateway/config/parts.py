"""Settings with several values: parts apart by commas."""


def split(value: object) -> object:
    """The parts of a text; anything else as it is."""
    if not isinstance(value, str):
        return value
    return [part.strip() for part in value.split(",") if part.strip()]
