//! Keys and scripts. Each script touches one slot of a cluster, and each may be run again.

use redis::Value;
use std::sync::LazyLock;

/// A script.
pub(super) struct Lua {
    pub(super) text: &'static str,
    pub(super) sha: String,
}

impl Lua {
    fn new(text: &'static str) -> Lua {
        Lua { text, sha: redis::Script::new(text).get_hash().to_owned() }
    }
}

/// Raised when an older program would misread a record.
pub(super) const FORMAT: &str = "1";

/// Where changes are told, and what tells of all conferences.
pub(super) const CHANGES: &str = "changes/{confs}";
pub(super) const REMOVED: &str = "removed/{confs}";
pub(super) const SEQUENCE: &str = "sequence/{confs}";
/// Control processes that live.
pub(super) const CSS: &str = "css";
/// Removals that the feed remembers.
pub(super) const REMOVED_MAX: &str = "10000";

pub(super) fn conf(moid: &str) -> String {
    format!("conf/{{{moid}}}")
}

pub(super) fn confex(moid: &str) -> String {
    format!("confex/{{{moid}}}")
}

pub(super) fn number(number: &str) -> String {
    format!("e164/{{{number}}}")
}

pub(super) fn request(id: &str) -> String {
    format!("request/{{{id}}}")
}

/// What operators have said about nodes: a hash, JSON by node id.
pub(super) const NOTES: &str = "nodes";

pub(super) fn domain(moid: &str) -> String {
    format!("domain/{moid}/info")
}

/// The MOID in the key of a domain.
pub(super) fn domain_of(key: &str) -> Option<&str> {
    key.strip_prefix("domain/")?.strip_suffix("/info").filter(|moid| !moid.is_empty())
}

pub(super) fn occupied(domain: &str, class: &str) -> String {
    format!("domain/{domain}/occupied/{class}")
}

/// Slot of a key (Redis Cluster specification, "Key distribution model" and "Hash tags").
pub(super) fn slot(key: &str) -> u16 {
    let tag = key.split_once('{').and_then(|(_, rest)| rest.split_once('}')).map(|(tag, _)| tag);
    crc16(tag.filter(|tag| !tag.is_empty()).unwrap_or(key).as_bytes()) % 16_384
}

/// CRC-16/XMODEM, as the specification wants it.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, byte| {
        (0..8).fold(crc ^ (u16::from(*byte) << 8), |crc, _| {
            if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 }
        })
    })
}

/// What a script said, if it said a word.
pub(super) fn word(value: &Value) -> &str {
    match value {
        Value::BulkString(bytes) => std::str::from_utf8(bytes).unwrap_or_default(),
        Value::SimpleString(text) => text,
        Value::Okay => "ok",
        _ => "",
    }
}

/// KEYS: conf, confex. ARGV: 1, 2 base ('' for none), 3 epoch, 4 version, 5 record, 6 name, 7 state, 8 node,
/// 9 number, 10 user domain, 11 room, 12 platform, 13 maintainer, 14 'claimed' when the number is, 15 format.
pub(super) static PUT: LazyLock<Lua> = LazyLock::new(|| {
    Lua::new(
        r"
local known = redis.call('HMGET', KEYS[1], 'EPOCH', 'VERSION', 'E164', 'RECORD', 'FORMAT')
if redis.call('EXISTS', KEYS[1]) == 1 then
  if not tonumber(known[1] or '') or not tonumber(known[2] or '') then return 'foreign' end
  if known[5] and known[5] ~= ARGV[15] then return 'foreign' end
  if known[1] == ARGV[3] and known[2] == ARGV[4] and known[4] == ARGV[5] then return 'ok' end
  if known[1] ~= ARGV[1] or known[2] ~= ARGV[2] then return 'conflict' end
  if known[3] ~= ARGV[9] and ARGV[14] == '' then return 'claim' end
elseif ARGV[1] ~= '' then
  return 'conflict'
end
local beside = redis.call('TYPE', KEYS[2])['ok']
if beside ~= 'none' and beside ~= 'hash' then return 'foreign' end
redis.call('HSET', KEYS[1], 'EPOCH', ARGV[3], 'VERSION', ARGV[4], 'RECORD', ARGV[5], 'CONFNAME', ARGV[6],
  'STATE', ARGV[7], 'NODE', ARGV[8], 'E164', ARGV[9], 'MAINTAINER', ARGV[13], 'FORMAT', ARGV[15])
redis.call('HSET', KEYS[2], 'moid', ARGV[10], 'roommoid', ARGV[11], 'platformmoid', ARGV[12])
return 'ok'
",
    )
});

/// KEYS: conf, confex.
pub(super) static REMOVE: LazyLock<Lua> =
    LazyLock::new(|| Lua::new("redis.call('DEL', KEYS[1], KEYS[2]) return 'ok'"));

/// KEYS: number or request. ARGV: owner, MOID. Gives 'ok', or the owner, since how many milliseconds, and the
/// conferences that it is for (fields that begin with `+`).
pub(super) static CLAIM: LazyLock<Lua> = LazyLock::new(|| {
    Lua::new(
        r"
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local known = redis.call('HMGET', KEYS[1], 'moid', 'since')
if redis.call('EXISTS', KEYS[1]) == 1 and not known[1] then return 'foreign' end
if not known[1] or known[1] == ARGV[1] then
  if not known[1] then redis.call('HSET', KEYS[1], 'moid', ARGV[1], 'since', string.format('%.0f', now)) end
  redis.call('HSET', KEYS[1], '+' .. ARGV[2], '1')
  return 'ok'
end
local age = math.max(0, now - (tonumber(known[2] or '') or 0))
local answer = {known[1], string.format('%.0f', age)}
for _, field in ipairs(redis.call('HKEYS', KEYS[1])) do
  if string.sub(field, 1, 1) == '+' then answer[#answer + 1] = string.sub(field, 2) end
end
return answer
",
    )
});

/// KEYS: number or request. ARGV: owner, MOID, owner that is to lose it.
pub(super) static TAKE_OVER: LazyLock<Lua> = LazyLock::new(|| {
    Lua::new(
        r"
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if redis.call('HGET', KEYS[1], 'moid') ~= ARGV[3] then return 'conflict' end
redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[1], 'moid', ARGV[1], 'since', string.format('%.0f', now), '+' .. ARGV[2], '1')
return 'ok'
",
    )
});

/// KEYS: number or request. ARGV: owner, MOID.
pub(super) static RELEASE: LazyLock<Lua> = LazyLock::new(|| {
    Lua::new(
        r"
if redis.call('HGET', KEYS[1], 'moid') ~= ARGV[1] then return 'conflict' end
redis.call('HDEL', KEYS[1], '+' .. ARGV[2])
for _, field in ipairs(redis.call('HKEYS', KEYS[1])) do
  if string.sub(field, 1, 1) == '+' then return 'ok' end
end
redis.call('DEL', KEYS[1])
return 'ok'
",
    )
});

/// KEYS: sequence, changes, removed. ARGV: MOID.
pub(super) static TELL: LazyLock<Lua> = LazyLock::new(|| {
    Lua::new(
        r"
redis.call('ZADD', KEYS[2], redis.call('INCR', KEYS[1]), ARGV[1])
redis.call('ZREM', KEYS[3], ARGV[1])
return 'ok'
",
    )
});

/// KEYS: sequence, changes, removed. ARGV: MOID, how many removals to remember.
pub(super) static TELL_REMOVED: LazyLock<Lua> = LazyLock::new(|| {
    Lua::new(
        r"
if redis.call('ZREM', KEYS[2], ARGV[1]) == 1 then
  redis.call('ZADD', KEYS[3], redis.call('INCR', KEYS[1]), ARGV[1])
  redis.call('ZREMRANGEBYRANK', KEYS[3], 0, -1 - tonumber(ARGV[2]))
end
return 'ok'
",
    )
});

/// KEYS: sequence, changes, removed. ARGV: MOID. Nobody is told: it may be on its way.
pub(super) static UNLIST: LazyLock<Lua> =
    LazyLock::new(|| Lua::new("redis.call('ZREM', KEYS[2], ARGV[1]) return 'ok'"));

/// KEYS: css. ARGV: id, address, lease in milliseconds. Gives id and address of all that live.
pub(super) static RENEW: LazyLock<Lua> = LazyLock::new(|| {
    Lua::new(
        r"
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('HSET', KEYS[1], ARGV[1], string.format('%.0f %s', now + tonumber(ARGV[3]), ARGV[2]))
local all, living = redis.call('HGETALL', KEYS[1]), {}
for i = 1, #all, 2 do
  local expires, address = string.match(all[i + 1], '^(%d+) (.*)$')
  if not expires or tonumber(expires) <= now then
    redis.call('HDEL', KEYS[1], all[i])
  else
    living[#living + 1] = all[i]
    living[#living + 1] = address
  end
end
return living
",
    )
});

/// KEYS: place. ARGV: MOID, limit, lease in milliseconds. Gives 'ok' or how many are there.
pub(super) static OCCUPY: LazyLock<Lua> = LazyLock::new(|| {
    Lua::new(
        r"
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', string.format('%.0f', now))
local occupied = redis.call('ZCARD', KEYS[1])
if occupied >= tonumber(ARGV[2]) and not redis.call('ZSCORE', KEYS[1], ARGV[1]) then return occupied end
redis.call('ZADD', KEYS[1], string.format('%.0f', now + tonumber(ARGV[3])), ARGV[1])
return 'ok'
",
    )
});

/// KEYS: place. Gives who is there.
pub(super) static OCCUPANTS: LazyLock<Lua> = LazyLock::new(|| {
    Lua::new(
        r"
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
return redis.call('ZRANGEBYSCORE', KEYS[1], string.format('(%.0f', now), '+inf')
",
    )
});

/// KEYS: domain. ARGV: version, then fields and values.
pub(super) static PUT_DOMAIN: LazyLock<Lua> = LazyLock::new(|| {
    Lua::new(
        r"
if redis.call('EXISTS', KEYS[1]) == 1 then
  local known = tonumber(redis.call('HGET', KEYS[1], 'version') or '0')
  if not known then return 'foreign' end
  if known >= tonumber(ARGV[1]) then
    for i = 2, #ARGV, 2 do
      if (redis.call('HGET', KEYS[1], ARGV[i]) or '') ~= ARGV[i + 1] then return 'conflict' end
    end
    return 'ok'
  end
end
for i = 2, #ARGV, 2 do
  if ARGV[i + 1] == '' and ARGV[i] ~= 'uplevelmoid' and ARGV[i] ~= 'name' and ARGV[i] ~= 'moid' then
    redis.call('HDEL', KEYS[1], ARGV[i])
  else
    redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1])
  end
end
return 'ok'
",
    )
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_those_of_the_specification() {
        // Redis Cluster specification, appendix A: CRC16 of "123456789".
        assert_eq!(crc16(b"123456789"), 0x31c3);
        assert_eq!(slot(&conf("a")), slot(&confex("a")), "one script touches both");
        assert_eq!([CHANGES, REMOVED, SEQUENCE].map(slot), [slot("confs"); 3]);
        assert_eq!(slot("foo{}{bar}"), crc16(b"foo{}{bar}") % 16_384, "an empty tag is none");
        assert_eq!(slot("foo{{bar}}zap"), slot("{bar"));
    }

    #[test]
    fn domains_are_found_by_their_keys() {
        assert_eq!(domain_of(&domain("m1")), Some("m1"));
        assert_eq!([domain_of("domain//info"), domain_of("domain/m1/license")], [None, None]);
    }
}
