"""`berth login` and `berth logout`."""

from __future__ import annotations

import os
import sys

from berth.cli.command import Command
from berth.cli.errors import CommandFailed
from berth.cli.flags import Flag, Parsed
from berth.client.config import HUB

TYPE_CHECKING = False
if TYPE_CHECKING:
    from berth.cli.session import Session


def _server(parsed: Parsed) -> str:
    if not parsed.args or parsed.args[0] in ("docker.io", "index.docker.io", "registry-1.docker.io"):
        return HUB
    return parsed.args[0].removeprefix("https://").removeprefix("http://").partition("/")[0]


def _login(session: Session, parsed: Parsed) -> None:
    server = _server(parsed)
    user, password = parsed.text("username"), parsed.text("password")
    if parsed.flag("password-stdin"):
        if password:
            raise CommandFailed("--password and --password-stdin are mutually exclusive")
        if not user:
            raise CommandFailed("the --password-stdin option requires --username to be set")
        password = sys.stdin.read().removesuffix("\n").removesuffix("\r")
    elif password:
        session.warn("WARNING! Using --password via the CLI is insecure. Use --password-stdin.")
    if not user or not password:
        user, password = _ask(user, password, server)
    answer = session.client.post("/auth", None, {"username": user, "password": password, "serveraddress": server})
    session.settings.store(server, user, password, (answer or {}).get("IdentityToken") or "")
    path = os.path.join(session.config_directory, "config.json")
    session.warn(
        f"\nWARNING! Your credentials are stored unencrypted in '{path}'.\n"
        "Configure a credential helper to remove this warning. See\n"
        "https://docs.docker.com/go/credential-store/\n"
    )
    session.line((answer or {}).get("Status") or "Login Succeeded")


def _ask(user: str, password: str, server: str) -> tuple[str, str]:
    if not os.isatty(0):
        raise CommandFailed("Error: Cannot perform an interactive login from a non TTY device")
    if not user:
        sys.stdout.write(f"Username ({server}): " if server != HUB else "Username: ")
        sys.stdout.flush()
        user = sys.stdin.readline().strip()
        if not user:
            raise CommandFailed("Error: Non-null Username Required")
    if not password:
        import getpass

        password = getpass.getpass("Password: ")
        if not password:
            raise CommandFailed("Error: Password Required")
    return user, password


def _logout(session: Session, parsed: Parsed) -> None:
    server = _server(parsed)
    if session.settings.forget(server):
        session.line(f"Removing login credentials for {server}")
    else:
        session.line(f"Not logged in to {server}")


LOGIN = Command(
    "[OPTIONS] [SERVER]",
    _login,
    (
        Flag("username", "u", "string", "Username"),
        Flag("password", "p", "string", "Password or Personal Access Token (PAT)"),
        Flag("password-stdin", "", "bool", "Take the Password or Personal Access Token (PAT) from stdin"),
    ),
    most=1,
    long="Authenticate to a registry.\nDefaults to Docker Hub if no server is specified.",
)
LOGOUT = Command(
    "[SERVER]",
    _logout,
    most=1,
    long="Log out from a registry.\nIf no server is specified, the default is defined by the daemon.",
)
