"""The version, alone: it is read while the package is built, when torch need not be there."""

__version__ = "0.1.0"
