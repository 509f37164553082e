"""The busybox recipe: the one static program of Debian's busybox-static, its applets as links, a minimal /etc."""

from collections.abc import Iterable
from pathlib import Path
from typing import Final

from berth.images.bundle import Entry

PACKAGE: Final = "busybox-static"
#: Where an installed package has the program.
INSTALLED: Final = (Path("/usr/bin/busybox"), Path("/bin/busybox"))

CONFIG: Final[dict[str, object]] = {
    "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
    "Cmd": ["sh"],
}

_PASSWD: Final = b"""\
root:x:0:0:root:/root:/bin/sh
daemon:x:1:1:daemon:/usr/sbin:/bin/false
bin:x:2:2:bin:/bin:/bin/false
sys:x:3:3:sys:/dev:/bin/false
sync:x:4:100:sync:/bin:/bin/sync
mail:x:8:8:mail:/var/spool/mail:/bin/false
www-data:x:33:33:www-data:/var/www:/bin/false
operator:x:37:37:Operator:/var:/bin/false
nobody:x:65534:65534:nobody:/home:/bin/false
"""
_GROUP: Final = b"""\
root:x:0:
daemon:x:1:
bin:x:2:
sys:x:3:
adm:x:4:
tty:x:5:
disk:x:6:
mail:x:8:
wheel:x:10:root
www-data:x:33:
operator:x:37:
users:x:100:
nogroup:x:65534:
"""
_DIRECTORIES: Final = (
    ("bin", 0o755), ("dev", 0o755), ("etc", 0o755), ("home", 0o755), ("proc", 0o755), ("root", 0o700),
    ("sys", 0o755), ("tmp", 0o1777), ("usr", 0o755), ("usr/bin", 0o755), ("usr/sbin", 0o755), ("var", 0o755),
    ("var/spool", 0o755), ("var/spool/mail", 0o755), ("var/www", 0o755),
)  # fmt: skip


def entries(program: Path, applets: Iterable[str]) -> list[Entry]:
    """Return the content of the layer; `applets` are the names the program answers to."""
    made = [Entry(path=path, mode=mode) for path, mode in _DIRECTORIES]
    made.append(Entry(path="bin/busybox", source=program, mode=0o755))
    names = sorted({name.rsplit("/", 1)[-1] for name in applets} - {"busybox", ""})
    made += [Entry(path=f"bin/{name}", link="busybox") for name in names]
    made += [
        Entry(path="sbin", link="bin"),
        Entry(path="usr/bin/env", link="../../bin/env"),
        Entry(path="etc/passwd", content=_PASSWD, mode=0o644),
        Entry(path="etc/group", content=_GROUP, mode=0o644),
        Entry(path="etc/shadow", content=b"root:*:10933:0:99999:7:::\n", mode=0o640),
        Entry(path="etc/nsswitch.conf", content=b"passwd: files\ngroup: files\nhosts: files dns\n", mode=0o644),
    ]
    return made


def is_static(program: Path) -> bool:
    """Tell whether an ELF program needs no loader: no PT_INTERP among its program headers (elf(5)); blocking."""
    try:
        with program.open("rb") as body:
            head = body.read(64)
            if head[:5] != b"\x7fELF\x02" or head[5] != 1:
                return False
            offset = int.from_bytes(head[32:40], "little")
            size = int.from_bytes(head[54:56], "little")
            count = int.from_bytes(head[56:58], "little")
            body.seek(offset)
            table = body.read(size * count)
    except OSError:
        return False
    return all(table[at : at + 4] != b"\x03\x00\x00\x00" for at in range(0, len(table), size))
