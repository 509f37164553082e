#!/bin/sh
# Entry point of the nginx image made by Berth: fills in templates, runs what is in /docker-entrypoint.d, then nginx.
set -eu

conf=/etc/nginx/conf.d/default.conf
if [ "${1-}" = nginx ]; then
    if [ -d /etc/nginx/templates ]; then
        names=$(env | sed -n 's/^\([A-Za-z_][A-Za-z0-9_]*\)=.*/${\1} /p' | tr -d '\n')
        for template in /etc/nginx/templates/*.template; do
            [ -e "$template" ] || continue
            envsubst "$names" <"$template" >"/etc/nginx/conf.d/$(basename "$template" .template)"
        done
    fi
    if [ -e /proc/net/if_inet6 ] && [ -w "$conf" ] && cmp -s "$conf" /usr/share/nginx/default.conf; then
        sed -i 's/^    listen 80;/&\n    listen [::]:80;/' "$conf" || true
    fi
    for script in /docker-entrypoint.d/*.sh; do
        [ -x "$script" ] && "$script"
    done
fi
exec "$@"
