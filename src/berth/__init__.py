"""Berth: a container engine for Linux whose heart is networks and persistent data."""

from typing import Final

#: Version of the engine and of its command line.
VERSION: Final = "0.1.0"
