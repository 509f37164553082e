"""What can go wrong between a client and the engine."""

from __future__ import annotations


class ClientError(Exception):
    """Any failure of a call to the engine."""


class ApiError(ClientError):
    """The engine answered with an error status.

    Attributes:
        status: The HTTP status.
        message: The engine's words, without any prefix.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


class ConnectFailed(ClientError):
    """Nobody answers at the address."""


class ConnectionBroken(ClientError):
    """The engine hung up in the middle of an answer."""


class BadHost(ClientError):
    """An address (`-H`, ``BERTH_HOST``, ``DOCKER_HOST``) makes no sense."""
