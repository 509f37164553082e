#!/bin/bash
# Entry point of the postgres image made by Berth: prepares an empty data directory as POSTGRES_* say, then runs the server.
set -Eeuo pipefail

say() { printf 'berth-postgres: %s\n' "$*" >&2; }
fail() { say "$*"; exit 1; }

# setting NAME DEFAULT: NAME from the environment, or from the file that NAME_FILE points to.
setting() {
    local name=$1 file="$1_FILE" value=${2-}
    [[ -n ${!name-} && -n ${!file-} ]] && fail "set $name or $file, not both"
    if [[ -n ${!name-} ]]; then
        value=${!name}
    elif [[ -n ${!file-} ]]; then
        value=$(<"${!file}")
    fi
    export "$name=$value"
    unset "$file"
}

prepare_directories() {
    mkdir -p "$PGDATA" /run/postgresql
    chmod 0700 "$PGDATA" 2>/dev/null || true
    [[ $(id -u) = 0 ]] || return 0
    find "$PGDATA" \! -user postgres -exec chown postgres '{}' +
    find /run/postgresql \! -user postgres -exec chown postgres '{}' +
}

check_settings() {
    [[ -n $POSTGRES_PASSWORD || ${POSTGRES_HOST_AUTH_METHOD-} = trust ]] && return 0
    say "the data directory $PGDATA is empty and POSTGRES_PASSWORD is not set."
    say "Give the superuser a password, for example with: docker run -e POSTGRES_PASSWORD=secret …"
    fail "To let everybody connect without one, set POSTGRES_HOST_AUTH_METHOD=trust (never on an open network)."
}

make_cluster() {
    local options=()
    [[ -n $POSTGRES_INITDB_ARGS ]] && eval "options=($POSTGRES_INITDB_ARGS)"
    [[ -n ${POSTGRES_INITDB_WALDIR-} ]] && options+=(--waldir "$POSTGRES_INITDB_WALDIR")
    if [[ -n $POSTGRES_PASSWORD ]]; then
        initdb --username="$POSTGRES_USER" --pwfile=<(printf '%s\n' "$POSTGRES_PASSWORD") "${options[@]}"
    else
        initdb --username="$POSTGRES_USER" "${options[@]}"
    fi
    local method=${POSTGRES_HOST_AUTH_METHOD-}
    if [[ -z $method ]]; then
        method=$(postgres -C password_encryption -D "$PGDATA")
        [[ $method = on ]] && method=md5
    fi
    printf '\n# Connections from other hosts\nhost all all all %s\n' "$method" >>"$PGDATA/pg_hba.conf"
}

query() { psql -v ON_ERROR_STOP=1 --no-psqlrc --no-password --username "$POSTGRES_USER" "$@"; }

run_scripts() {
    local script
    for script; do
        case $script in
            *.sh)
                say "running $script"
                if [[ -x $script ]]; then "$script"; else . "$script"; fi
                ;;
            *.sql) say "running $script"; query --dbname "$POSTGRES_DB" -f "$script" ;;
            *.sql.gz) say "running $script"; gunzip -c "$script" | query --dbname "$POSTGRES_DB" ;;
            *.sql.xz) say "running $script"; xzcat "$script" | query --dbname "$POSTGRES_DB" ;;
            *) say "ignoring $script" ;;
        esac
    done
}

first_start() {
    check_settings
    make_cluster
    # Only through the local socket: nobody may see the server before it is ready.
    pg_ctl -D "$PGDATA" -o "-c listen_addresses=''" -w start
    export PGPASSWORD=${PGPASSWORD-$POSTGRES_PASSWORD}
    if [[ $POSTGRES_DB != postgres ]]; then
        query --dbname postgres --set db="$POSTGRES_DB" <<<'CREATE DATABASE :"db";'
    fi
    shopt -s nullglob
    run_scripts /docker-entrypoint-initdb.d/*
    pg_ctl -D "$PGDATA" -m fast -w stop
    unset PGPASSWORD
    say "the data directory is initialised"
}

main() {
    [[ ${1:0:1} = - ]] && set -- postgres "$@"
    if [[ ${1-} = postgres ]]; then
        prepare_directories
        if [[ $(id -u) = 0 ]]; then
            exec setpriv --reuid=postgres --regid=postgres --init-groups env HOME=/var/lib/postgresql "$BASH_SOURCE" "$@"
        fi
        setting POSTGRES_PASSWORD
        setting POSTGRES_USER postgres
        setting POSTGRES_DB "$POSTGRES_USER"
        setting POSTGRES_INITDB_ARGS
        if [[ -s $PGDATA/PG_VERSION ]]; then
            say "using the data in $PGDATA"
        else
            first_start
        fi
    fi
    exec "$@"
}

main "$@"
