"""The one error that this package raises on purpose."""


class GenmodelsError(Exception):
    """An option, a file or a batch is not as expected, or training diverged.

    The message is one sentence that names what is wrong, its value and what was expected. The command line
    prints it alone; any other exception is a bug and keeps its traceback.
    """


def check_options(owner: object, *checks: tuple[str, object, bool, str]) -> None:
    """Raises GenmodelsError for the first (option, its value, whether that is valid, what was expected) that is not."""
    for option, value, valid, expected in checks:
        if not valid:
            raise GenmodelsError(f"{type(owner).__name__}: {option} is {value!r}; expected {expected}.")
