#!/bin/sh
# Entry point of the redis image made by Berth: runs the server as its own user.
set -eu

case "${1-}" in
    -* | *.conf) set -- redis-server "$@" ;;
esac
if [ "${1-}" = redis-server ]; then
    if [ "$(id -u)" = 0 ]; then
        find . \! -user redis -exec chown redis '{}' +
        exec setpriv --reuid=redis --regid=redis --init-groups "$0" "$@"
    fi
    umask 0077
    # Reachable from other containers unless a configuration says otherwise: there is no password by default.
    case " $* " in
        *.conf* | *" --protected-mode "*) ;;
        *) set -- "$@" --protected-mode no ;;
    esac
fi
exec "$@"
