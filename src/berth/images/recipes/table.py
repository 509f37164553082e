"""The recipes that need packages: what is installed, what is done before and after, what containers inherit. Pure.

`setup` and `finish` are shell run inside the new root; `files` are put over it last. Where Compose files and manuals
rely on how a well-known image behaves (paths, users, variables, signals), ours behaves the same.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources
from typing import Any, Final

#: Raised when a recipe changes, so that images made by the older form are not taken for it.
FORM: Final = "3"
_PATH: Final = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_LANG: Final = "LANG=C.UTF-8"


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """One image on top of the `debian` one.

    `files` are texts with their modes; a path ending in a slash is a directory.
    """

    packages: tuple[str, ...]
    config: Mapping[str, Any]
    setup: str = ""
    finish: str = ""
    files: Mapping[str, tuple[str, int]] = field(default_factory=dict)


def _script(name: str) -> tuple[str, int]:
    return (resources.files(__package__) / "files" / name).read_text(encoding="utf-8"), 0o755


DEBIAN: Final[dict[str, Any]] = {"Env": [_PATH], "Cmd": ["bash"]}

_NGINX_CONF: Final = """\
user nginx;
worker_processes auto;
error_log /var/log/nginx/error.log notice;
pid /run/nginx.pid;

events {
    worker_connections 1024;
}

http {
    include /etc/nginx/mime.types;
    default_type application/octet-stream;
    log_format main '$remote_addr - $remote_user [$time_local] "$request" $status $body_bytes_sent '
                    '"$http_referer" "$http_user_agent" "$http_x_forwarded_for"';
    access_log /var/log/nginx/access.log main;
    sendfile on;
    keepalive_timeout 65;
    include /etc/nginx/conf.d/*.conf;
}
"""
_NGINX_SITE: Final = """\
server {
    listen 80;
    server_name localhost;

    location / {
        root /usr/share/nginx/html;
        index index.html index.htm;
    }

    error_page 500 502 503 504 /50x.html;
    location = /50x.html {
        root /usr/share/nginx/html;
    }
}
"""
_NGINX_PAGE: Final = """\
<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8"><title>Welcome to nginx!</title></head>
<body>
<h1>Welcome to nginx!</h1>
<p>This server works. Its image was made from this machine's Debian packages.</p>
<p>Put your own pages into <code>/usr/share/nginx/html</code>.</p>
</body>
</html>
"""
_NGINX_ERROR: Final = """\
<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8"><title>Error</title></head>
<body><h1>The page cannot be served now.</h1></body>
</html>
"""


def recipe(name: str) -> Recipe:
    """Return the recipe `name`, which must be one of `NAMES`."""
    return _RECIPES[name]()


def _nginx() -> Recipe:
    return Recipe(
        packages=("nginx", "curl", "gettext-base"),
        setup="groupadd --system --gid 101 nginx\n"
        "useradd --system --gid nginx --uid 101 --no-create-home --home-dir /nonexistent --shell /bin/false nginx\n",
        finish="rm -rf /etc/nginx/sites-enabled/default /usr/share/nginx/html/*\n"
        "mkdir -p /docker-entrypoint.d\n"
        "ln -sf /dev/stdout /var/log/nginx/access.log\n"
        "ln -sf /dev/stderr /var/log/nginx/error.log\n",
        files={
            "docker-entrypoint.sh": _script("nginx.sh"),
            "etc/nginx/nginx.conf": (_NGINX_CONF, 0o644),
            "etc/nginx/conf.d/default.conf": (_NGINX_SITE, 0o644),
            "usr/share/nginx/default.conf": (_NGINX_SITE, 0o644),
            "usr/share/nginx/html/index.html": (_NGINX_PAGE, 0o644),
            "usr/share/nginx/html/50x.html": (_NGINX_ERROR, 0o644),
        },
        config={
            "Env": [_PATH],
            "Entrypoint": ["/docker-entrypoint.sh"],
            "Cmd": ["nginx", "-g", "daemon off;"],
            "ExposedPorts": {"80/tcp": {}},
            "StopSignal": "SIGQUIT",
        },
    )


def _postgres() -> Recipe:
    return Recipe(
        packages=("postgresql", "xz-utils"),
        # The user first, so that it has the well-known number; no cluster at installation.
        setup="groupadd --system --gid 999 postgres\n"
        "useradd --system --gid postgres --uid 999 --home-dir /var/lib/postgresql --shell /bin/bash postgres\n"
        "install -d -o postgres -g postgres /var/lib/postgresql\n"
        "mkdir -p /etc/postgresql-common\n"
        "echo 'create_main_cluster = false' >/etc/postgresql-common/createcluster.conf\n",
        finish="for sample in /usr/share/postgresql/*/postgresql.conf.sample; do\n"
        '  sed -i "s/^#listen_addresses = .*/listen_addresses = \'*\'/" "$sample"\n'
        "done\n"
        # What pg_wrapper does for Debian's clusters is in the way here: the server's own programs come first in PATH.
        'for program in /usr/lib/postgresql/*/bin/*; do ln -s "$program" /usr/local/bin/; done\n'
        "mkdir -p /docker-entrypoint-initdb.d\n"
        "install -d -o postgres -g postgres -m 0700 /var/lib/postgresql/data\n",
        files={
            "usr/local/bin/docker-entrypoint.sh": _script("postgres.sh"),
            # For the server's socket, whatever user it runs as.
            "run/postgresql/": ("", 0o3777),
        },
        config={
            "Env": [_PATH, _LANG, "PGDATA=/var/lib/postgresql/data"],
            "Entrypoint": ["docker-entrypoint.sh"],
            "Cmd": ["postgres"],
            "ExposedPorts": {"5432/tcp": {}},
            "Volumes": {"/var/lib/postgresql/data": {}},
            "StopSignal": "SIGINT",
        },
    )


def _redis() -> Recipe:
    return Recipe(
        packages=("redis-server", "redis-tools"),
        setup="groupadd --system --gid 999 redis\n"
        "useradd --system --gid redis --uid 999 --home-dir /data --no-create-home --shell /bin/false redis\n",
        finish="install -d -o redis -g redis /data\n",
        files={"usr/local/bin/docker-entrypoint.sh": _script("redis.sh")},
        config={
            "Env": [_PATH],
            "Entrypoint": ["docker-entrypoint.sh"],
            "Cmd": ["redis-server"],
            "ExposedPorts": {"6379/tcp": {}},
            "Volumes": {"/data": {}},
            "WorkingDir": "/data",
        },
    )


def _python() -> Recipe:
    return Recipe(
        packages=("python3", "python3-pip", "python3-venv", "ca-certificates"),
        finish="ln -s /usr/bin/python3 /usr/local/bin/python\n",
        # Debian marks its Python as managed by apt; in an image of its own nothing else manages it.
        config={"Env": [_PATH, _LANG, "PIP_BREAK_SYSTEM_PACKAGES=1"], "Cmd": ["python3"]},
    )


def _node() -> Recipe:
    return Recipe(packages=("nodejs", "ca-certificates"), config={"Env": [_PATH], "Cmd": ["node"]})


_RECIPES: Final = {"nginx": _nginx, "node": _node, "postgres": _postgres, "python": _python, "redis": _redis}
#: Everything that can be made, those without packages of their own included.
NAMES: Final = tuple(sorted(("busybox", "debian", *_RECIPES)))
