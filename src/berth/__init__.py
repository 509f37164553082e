"""Berth: a container engine for Linux whose heart is networks and persistent data."""

#: Version of the engine and of its command line. Not marked Final: typing costs every command five milliseconds.
VERSION = "0.1.0"
