"""Commands in running containers as the Docker Engine API writes them. Pure."""

import msgspec

field = msgspec.field


class ExecCreate(msgspec.Struct, frozen=True, kw_only=True):
    """Body of ``POST /containers/{id}/exec``; null is as good as absent."""

    attach_stdin: bool | None = field(name="AttachStdin", default=False)
    attach_stdout: bool | None = field(name="AttachStdout", default=False)
    attach_stderr: bool | None = field(name="AttachStderr", default=False)
    tty: bool | None = field(name="Tty", default=False)
    privileged: bool | None = field(name="Privileged", default=False)
    detach_keys: str | None = field(name="DetachKeys", default="")
    user: str | None = field(name="User", default="")
    working_dir: str | None = field(name="WorkingDir", default="")
    env: list[str] | None = field(name="Env", default=None)
    cmd: list[str] | str | None = field(name="Cmd", default=None)
    console_size: list[int] | None = field(name="ConsoleSize", default=None)

    @property
    def argv(self) -> tuple[str, ...]:
        """The command; Docker also takes one string for a command without arguments."""
        if isinstance(self.cmd, str):
            return (self.cmd,)
        return tuple(self.cmd or ())


class ExecStart(msgspec.Struct, frozen=True, kw_only=True):
    """Body of ``POST /exec/{id}/start``. `console_size` is height, width."""

    detach: bool | None = field(name="Detach", default=False)
    tty: bool | None = field(name="Tty", default=False)
    console_size: list[int] | None = field(name="ConsoleSize", default=None)
