"""What the archive raises on purpose.

ArchiveError
├── SettingsError    what the user wrote can't be used                           exit code 2
├── GapError         records are gone from the topic that were never archived    exit code 1
├── Overtaken        somebody else has archived these records; go on behind them
└── Undecodable      one record's bytes aren't what its topic should hold; it becomes a dead letter
"""

from __future__ import annotations


class ArchiveError(Exception):
    """Root; the message is fit to be shown to a user as it is."""

    exit_code = 1


class SettingsError(ArchiveError):
    """The message names the file and what would be right."""

    exit_code = 2


class GapError(ArchiveError):
    """Nothing is passed over silently: the message names the offset, and how to go on."""


class Overtaken(ArchiveError):
    """The archive already has an object that begins at this offset, written by another process."""


class Undecodable(ArchiveError):
    """The message says why; it never holds the record's bytes."""
