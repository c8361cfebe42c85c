"""The one error that the data modules raise on purpose."""


class DataError(Exception):
    """Something about the data is not as expected: its place, its files or its options.

    The message is one sentence that names the file or the option, its value and what was expected.
    """
