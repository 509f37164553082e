"""The names of all commands: what they are called, one line about each, and which module carries them out. Data.

A target is ``module:NAME`` below `berth.cli.commands`; only the module of the command called is imported.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from berth.cli.command import Command

    Entries = dict[str, tuple[str, str]]

CONTAINER: Entries = {
    "attach": ("Attach local standard input, output, and error streams to a running container", "attach:ATTACH"),
    "commit": ("Create a new image from a container's changes", "commit:COMMIT"),
    "cp": ("Copy files/folders between a container and the local filesystem", "copy:CP"),
    "create": ("Create a new container", "run:CREATE"),
    "diff": ("Inspect changes to files or directories on a container's filesystem", "container:DIFF"),
    "exec": ("Execute a command in a running container", "execute:EXEC"),
    "export": ("Export a container's filesystem as a tar archive", "container:EXPORT"),
    "inspect": ("Display detailed information on one or more containers", "inspect:CONTAINER"),
    "kill": ("Kill one or more running containers", "container:KILL"),
    "logs": ("Fetch the logs of a container", "logs:LOGS"),
    "ls": ("List containers", "listing:PS"),
    "pause": ("Pause all processes within one or more containers", "container:PAUSE"),
    "port": ("List port mappings or a specific mapping for the container", "container:PORT"),
    "prune": ("Remove all stopped containers", "prune:CONTAINERS"),
    "rename": ("Rename a container", "container:RENAME"),
    "restart": ("Restart one or more containers", "container:RESTART"),
    "rm": ("Remove one or more containers", "container:RM"),
    "run": ("Create and run a new container from an image", "run:RUN"),
    "start": ("Start one or more stopped containers", "attach:START"),
    "stats": ("Display a live stream of container(s) resource usage statistics", "stats:STATS"),
    "stop": ("Stop one or more running containers", "container:STOP"),
    "top": ("Display the running processes of a container", "container:TOP"),
    "unpause": ("Unpause all processes within one or more containers", "container:UNPAUSE"),
    "update": ("Update configuration of one or more containers", "update:UPDATE"),
    "wait": ("Block until one or more containers stop, then print their exit codes", "container:WAIT"),
}

IMAGE: Entries = {
    "bootstrap": ("Make an image from this machine's own package mirror", "image:BOOTSTRAP"),
    "history": ("Show the history of an image", "image:HISTORY"),
    "import": ("Import the contents from a tarball to create a filesystem image", "transfer:IMPORT"),
    "inspect": ("Display detailed information on one or more images", "inspect:IMAGE"),
    "load": ("Load an image from a tar archive or STDIN", "transfer:LOAD"),
    "ls": ("List images", "image:LS"),
    "prune": ("Remove unused images", "prune:IMAGES"),
    "pull": ("Download an image from a registry", "transfer:PULL"),
    "push": ("Upload an image to a registry", "transfer:PUSH"),
    "rm": ("Remove one or more images", "image:RM"),
    "save": ("Save one or more images to a tar archive (streamed to STDOUT by default)", "transfer:SAVE"),
    "tag": ("Create a tag TARGET_IMAGE that refers to SOURCE_IMAGE", "image:TAG"),
}

NETWORK: Entries = {
    "connect": ("Connect a container to a network", "network:CONNECT"),
    "create": ("Create a network", "network:CREATE"),
    "disconnect": ("Disconnect a container from a network", "network:DISCONNECT"),
    "inspect": ("Display detailed information on one or more networks", "inspect:NETWORK"),
    "links": ("Show which link of the host belongs to which container", "network_see:LINKS"),
    "ls": ("List networks", "network:LS"),
    "map": ("Draw the networks of this host", "network_see:MAP"),
    "policy": ("Show what a network may reach outside, and what was refused", "firewall:POLICY"),
    "prune": ("Remove all unused networks", "prune:NETWORKS"),
    "rename": ("Rename a network", "network_change:RENAME"),
    "rm": ("Remove one or more networks", "network:RM"),
    "shape": ("Limit how much, and how late, a container sends and receives on a network", "network_shape:SHAPE"),
    "tap": ("Show the packets of a container", "network_tap:TAP"),
    "trace": ("Find out why a container does not reach something", "network_trace:TRACE"),
    "update": ("Change networks that are in use", "network_change:UPDATE"),
}

#: A name of two words is a command below another: `berth volume backup ls`.
VOLUME: Entries = {
    "cat": ("Print files of a volume", "volume_files:CAT"),
    "cp": ("Copy files/folders between a volume and the local filesystem", "volume_files:CP"),
    "exec": ("Run a command in a container of its own with a volume", "volume_files:EXEC"),
    "ls-files": ("List files of a volume", "volume_files:LS_FILES"),
    "backup": ("Back up volumes to files", "volume_backup:BACKUP"),
    "backup ls": ("List the backups in a directory", "volume_backup_files:LS"),
    "backup prune": ("Remove old backups from a directory", "volume_backup_files:PRUNE"),
    "clone": ("Make a volume with the data of another", "volume_copies:CLONE"),
    "create": ("Create a volume", "volume:CREATE"),
    "diff": ("Show what differs between two volumes or snapshots", "volume_copies:DIFF"),
    "export": ("Export a volume's files as a tar archive", "volume_backup:EXPORT"),
    "import": ("Fill a volume with the files of a tar archive", "volume_backup:IMPORT"),
    "inspect": ("Display detailed information on one or more volumes", "inspect:VOLUME"),
    "ls": ("List volumes", "volume:LS"),
    "protect": ("Keep volumes from being removed or overwritten", "volume_life:PROTECT"),
    "prune": ("Remove unused local volumes", "prune:VOLUMES"),
    "rename": ("Rename a volume", "volume_life:RENAME"),
    "resize": ("Change the size of a volume", "volume_sizes:RESIZE"),
    "restore": ("Make a volume of a backup, or replace a volume's data by it", "volume_backup:RESTORE"),
    "rm": ("Remove one or more volumes", "volume:RM"),
    "snapshot": ("Keep what a volume holds, and return to it", "volume_copies:SNAPSHOT"),
    "snapshot create": ("Keep what a volume holds", "volume_copies:SNAPSHOT_CREATE"),
    "snapshot inspect": ("Display detailed information on snapshots", "volume_copies:SNAPSHOT_INSPECT"),
    "snapshot ls": ("List snapshots", "volume_copies:SNAPSHOT_LS"),
    "snapshot rm": ("Remove snapshots", "volume_copies:SNAPSHOT_RM"),
    "snapshot rollback": ("Return a volume to a snapshot", "volume_copies:SNAPSHOT_ROLLBACK"),
    "trash": ("See removed volumes, have them back, or delete them for good", "volume_life:TRASH"),
    "unprotect": ("Let volumes be removed and overwritten again", "volume_life:UNPROTECT"),
    "update": ("Change volumes that are in use", "volume_life:UPDATE"),
    "verify": ("Check every file in a backup", "volume_backup:VERIFY"),
}

DNS: Entries = {
    "log": ("Show who asked for which name, and what was answered", "dns:LOG"),
    "query": ("Ask for a name as a container would, and explain the answer", "dns:QUERY"),
    "stats": ("Show how names and the name servers outside do", "dns:STATS"),
}

FIREWALL: Entries = {
    "diff": ("Compare the rules in the kernel with those that should be there", "firewall:DIFF"),
    "reload": ("Write the engine's rules anew; connections go on", "firewall:RELOAD"),
    "status": ("Show the engine's rules, what of others stands in the way, what was dropped", "firewall:STATUS"),
}

SYSTEM: Entries = {
    "df": ("Show docker disk usage", "disk:DF"),
    "events": ("Get real time events from the server", "events:EVENTS"),
    "info": ("Display system-wide information", "info:INFO"),
    "prune": ("Remove unused data", "prune:SYSTEM"),
}

#: group → (one line, its commands)
GROUPS: dict[str, tuple[str, Entries]] = {
    "container": ("Manage containers", CONTAINER),
    "dns": ("Look into names", DNS),
    "firewall": ("See and mend the engine's packet filter", FIREWALL),
    "image": ("Manage images", IMAGE),
    "network": ("Manage networks", NETWORK),
    "system": ("Manage the engine", SYSTEM),
    "volume": ("Manage volumes", VOLUME),
}

#: Other names within a group.
OTHER_NAMES: dict[str, dict[str, str]] = {
    "container": {"list": "ls", "ps": "ls", "remove": "rm"},
    "image": {"list": "ls", "remove": "rm"},
    "network": {"list": "ls", "remove": "rm"},
    "volume": {"list": "ls", "remove": "rm"},
}

#: The commands at the top that are no short form of a grouped one.
OWN: Entries = {
    "completion": ("Print the completion script of a shell", "completion:COMPLETION"),
    "compose": ("Define and run applications of several containers", "compose:COMPOSE"),
    "inspect": ("Return low-level information on Docker objects", "inspect:ANY"),
    "login": ("Authenticate to a registry", "login:LOGIN"),
    "logout": ("Log out from a registry", "login:LOGOUT"),
    "version": ("Show the Berth version information", "info:VERSION"),
    "__complete": ("", "completion:COMPLETE"),
}

#: Short forms at the top: name → (group, command).
SHORT: dict[str, tuple[str, str]] = {
    **{name: ("container", name) for name in CONTAINER if name not in ("inspect", "ls", "prune")},
    **{name: ("image", name) for name in ("history", "import", "load", "pull", "push", "save", "tag")},
    "ps": ("container", "ls"),
    "images": ("image", "ls"),
    "rmi": ("image", "rm"),
    "events": ("system", "events"),
    "info": ("system", "info"),
}

#: Docker's commands that are not here, and what there is instead.
ABSENT: dict[str, str] = {
    "build": "build with buildah or docker buildx and load or pull it; or use berth commit or berth image bootstrap",
    "buildx": "docker buildx works on its own; load what it made with berth load",
    "builder": "nothing is built here",
    "checkpoint": "there are no checkpoints here",
    "context": "say which engine with -H, BERTH_HOST or DOCKER_HOST",
    "manifest": "use skopeo",
    "plugin": "a plugin is a program that listens on a socket in /run/docker/plugins; it is found there",
    "search": "look on the registry's own pages",
    "trust": "signatures are not looked at here",
    **dict.fromkeys(
        ("config", "node", "secret", "service", "stack", "swarm"), "there are no swarms; see berth compose"
    ),
}

#: The first block of the front page, in this order.
COMMON = ("run", "exec", "ps", "pull", "push", "images", "login", "logout", "version", "info", "compose")


def short_of(name: str) -> str:
    """Return the one line about a command at the top."""
    if name in OWN:
        return OWN[name][0]
    group, command = SHORT[name]
    return GROUPS[group][1][command][0]


def target_of(path: tuple[str, ...]) -> str | None:
    """Return the target of a command's path without the program's name; None if there is no such command."""
    if len(path) == 1:
        if path[0] in SHORT:
            path = SHORT[path[0]]
        else:
            return OWN[path[0]][1] if path[0] in OWN else None
    group, name = path
    name = OTHER_NAMES.get(group, {}).get(name, name)
    entry = GROUPS[group][1].get(name)
    return entry[1] if entry else None


def names_of(path: tuple[str, ...]) -> list[str]:
    """Return all names of a command, the grouped one first."""
    if len(path) == 1 and path[0] not in SHORT:
        return [path[0]]
    group, name = SHORT[path[0]] if len(path) == 1 else path
    name = OTHER_NAMES.get(group, {}).get(name, name)
    names = [f"{group} {name}"]
    names += [f"{group} {other}" for other, real in OTHER_NAMES.get(group, {}).items() if real == name]
    names += [top for top, real in SHORT.items() if real == (group, name)]
    return names


def load(target: str) -> Command:
    """Import a command."""
    module, _, name = target.partition(":")
    path = f"berth.cli.commands.{module}"
    __import__(path)  # importlib would bring warnings along, for nothing
    command: Command = getattr(sys.modules[path], name)
    return command
