#!/bin/sh
# Run by keepalived on the pair of primaries: redis-role.sh primary|replica. It promotes the local server when the
# address has come, and makes it follow the address when it has gone. Both may be done again without harm.
#
# redis.env or the environment: REDISCLI_AUTH, the password; REDIS_PORT, the local port; REDIS_VIP and REDIS_VIP_PORT,
# the address that moves.
set -eu
settings=/etc/keepalived/redis.env
if [ -r "$settings" ]; then
    . "$settings"
fi
role=${1:?primary or replica}
cli() {
    redis-cli -h 127.0.0.1 -p "${REDIS_PORT:-6379}" "$@"
}
case $role in
    primary) answer=$(cli REPLICAOF NO ONE) ;;
    replica) answer=$(cli REPLICAOF "${REDIS_VIP:-192.0.2.10}" "${REDIS_VIP_PORT:-6379}") ;;
    *)
        echo "redis-role.sh: '$role' is neither primary nor replica" >&2
        exit 2
        ;;
esac
case $answer in
    OK*) ;;
    *)
        echo "redis-role.sh: $answer" >&2
        exit 1
        ;;
esac
