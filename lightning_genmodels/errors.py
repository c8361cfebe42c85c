"""The one error that this package raises on purpose."""


class GenmodelsError(Exception):
    """An option, a file or a batch is not as expected, or training diverged.

    The message is one sentence that names what is wrong, its value and what was expected. The command line
    prints it alone; any other exception is a bug and keeps its traceback.
    """
