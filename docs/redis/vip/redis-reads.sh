#!/bin/sh
# Run by keepalived on the load balancers: redis-reads.sh HOST PORT. Well when the server is a replica that follows its
# primary. redis.env or the environment: REDISCLI_AUTH, the password.
set -eu
settings=/etc/keepalived/redis.env
if [ -r "$settings" ]; then
    . "$settings"
fi
info=$(redis-cli -h "${1:?host}" -p "${2:?port}" INFO replication)
case $info in
    *role:slave*master_link_status:up*) ;;
    *) exit 1 ;;
esac
