"""What a running command has at hand: the engine's client, the streams, the user's settings."""

from __future__ import annotations

import os
import sys

from berth.cli.errors import CommandFailed
from berth.client.http import Client

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from berth.client.config import Settings


class Session:
    """One invocation of `berth`.

    Args:
        host: The address given by ``-H``, or None.
        path: The command as it was called, for messages: ``berth network ls``.
        config: The directory given by ``--config``, or None.
    """

    def __init__(self, host: str | None, path: str, config: str | None = None) -> None:
        self.host = host
        self.path = path
        self._config = config
        self._client: Client | None = None
        self._settings: Settings | None = None

    @property
    def client(self) -> Client:
        """The client of this thread."""
        if self._client is None:
            self._client = Client(self.host)
        return self._client

    @property
    def config_directory(self) -> str:
        """Where Docker's client keeps its settings, which we share."""
        return self._config or os.environ.get("DOCKER_CONFIG") or os.path.expanduser("~/.docker")

    @property
    def settings(self) -> Settings:
        """The user's ``config.json``, read once."""
        if self._settings is None:
            from berth.client.config import Settings

            self._settings = Settings.load(self.config_directory)
        return self._settings

    def line(self, text: object = "") -> None:
        """Write a line to standard output."""
        sys.stdout.write(f"{text}\n")

    def warn(self, text: str) -> None:
        """Write a line to standard error, after what was written to standard output."""
        sys.stdout.flush()
        sys.stderr.write(f"{text}\n")
        sys.stderr.flush()

    def each(self, names: Iterable[str], act: Callable[[str], object], *, echo: bool = True) -> int:
        """Do the same to many things: print each name done, each failure, and fail at the end if one failed."""
        from berth.client.errors import ApiError

        status = 0
        for name in names:
            try:
                act(name)
            except ApiError as error:
                self.warn(f"Error response from daemon: {error.message}")
                status = 1
            else:
                if echo:
                    self.line(name)
        return status

    def confirm(self, question: str) -> bool:
        """Ask a yes/no question; no input is no."""
        sys.stdout.write(f"{question} [y/N] ")
        sys.stdout.flush()
        try:
            answer = sys.stdin.readline()
        except KeyboardInterrupt:
            raise CommandFailed("", 130) from None
        return answer.strip().lower() in ("y", "yes")
