"""Exceptions raised for bad input: where it was, what was found, what was expected and the fix."""

from __future__ import annotations

from .io.names import shown


class BHaRNetError(ValueError):
    """Base class of all errors of this package.

    Prints ``<where>: found <found>; expected <expected>. Fix: <fix>``.

    Args:
        where: The clip, file, argument or joint at fault.
        found: What was there.
        expected: What should have been there.
        fix: What the user can do about it.

    Always raise with all four arguments. Only ``where`` is required, because a data-loader worker
    builds an exception again from its text alone.
    """

    def __init__(self, where: str, found: str = '', expected: str = '', fix: str = '') -> None:
        super().__init__(where, found, expected, fix)
        self.where = where
        self.found = found
        self.expected = expected
        self.fix = fix

    def __str__(self) -> str:
        if not self.found:
            return shown(self.where)
        text = f'{self.where}: found {self.found}; expected {self.expected}.'
        return shown(f'{text} Fix: {self.fix}' if self.fix else text)


class ClipError(BHaRNetError):
    """The content of one clip is wrong."""


class StoreError(BHaRNetError):
    """The files of a clip store are wrong, damaged or in use."""


class LayoutError(BHaRNetError):
    """A skeleton layout is inconsistent, unknown or does not fit the data."""


class ConfigError(BHaRNetError):
    """An argument, usually from a config file, is wrong."""


class SourceError(BHaRNetError):
    """A raw file that is being converted into a clip store cannot be read in its format."""


class CheckpointError(BHaRNetError):
    """A file of weights is missing, damaged, refused or belongs to another model."""


class WriteError(BHaRNetError):
    """A file could not be written. The old content is unchanged."""
