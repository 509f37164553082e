"""`berth commit`."""

from __future__ import annotations

from berth.cli.command import Command
from berth.cli.flags import Flag, Parsed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from berth.cli.session import Session


def _commit(session: Session, parsed: Parsed) -> None:
    from berth.cli.commands.transfer import split_tag

    container, *name = parsed.args
    repository, tag = split_tag(name[0]) if name else ("", "")
    query: dict[str, object] = {
        "container": container,
        "repo": repository or None,
        "tag": tag or None,
        "author": parsed.text("author") or None,
        "comment": parsed.text("message") or None,
        "changes": parsed.list("change"),
        "pause": "1" if parsed.flag("pause") else "0",
    }
    session.line(session.client.post("/commit", query)["Id"])


COMMIT = Command(
    "[OPTIONS] CONTAINER [REPOSITORY[:TAG]]",
    _commit,
    (
        Flag("author", "a", "string", 'Author (e.g., "John Hannibal Smith <hannibal@a-team.com>")'),
        Flag("change", "c", "list", "Apply Dockerfile instruction to the created image"),
        Flag("message", "m", "string", "Commit message"),
        Flag("pause", "p", "bool", "Pause container during commit", default=True),
    ),
    least=1,
    most=2,
)
