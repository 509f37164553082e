"""Logging set-up: one line per record on standard error, with the operation it belongs to."""

import contextvars
import logging

#: Identifier of the request being served, for log lines; empty outside one.
operation: contextvars.ContextVar[str] = contextvars.ContextVar("operation", default="")


class LineFormatter(logging.Formatter):
    """Docker-like ``time=… level=… msg=…`` lines."""

    def format(self, record: logging.LogRecord) -> str:
        """Render one record."""
        text = record.getMessage()
        if record.exc_info:
            text += "\n" + self.formatException(record.exc_info)
        where = operation.get()
        tail = f" op={where}" if where else ""
        stamp = self.formatTime(record, "%Y-%m-%dT%H:%M:%S") + f".{int(record.msecs):03d}"
        return f"time={stamp} level={record.levelname.lower()} {record.name}: {text}{tail}"


def set_up(level: str) -> None:
    """Send records of `level` (debug, info, warn, error, fatal) and above to standard error."""
    names = {"debug": 10, "info": 20, "warn": 30, "warning": 30, "error": 40, "fatal": 50}
    handler = logging.StreamHandler()
    handler.setFormatter(LineFormatter())
    root = logging.getLogger("berth")
    root.handlers[:] = [handler]
    root.setLevel(names[level])
    root.propagate = False
