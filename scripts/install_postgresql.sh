#!/bin/sh
# Installs Debian's PostgreSQL for the tests of the measurements' store, where that is possible; they are skipped elsewhere.
set -eu
if command -v initdb >/dev/null || ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1; then exit 0; fi
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    # No cluster of the system's own: the tests start theirs.
    mkdir -p /etc/postgresql-common/createcluster.d
    echo "create_main_cluster = false" >/etc/postgresql-common/createcluster.d/featherweight.conf
    if apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends postgresql >/dev/null; then
        exit 0
    fi
fi
echo "PostgreSQL could not be installed: the tests of the measurements' store run on SQLite only." >&2
