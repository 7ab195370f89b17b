//! What the Sentinels of a group say of its primary.

use super::server::ask_once;
use redis::{ConnectionAddr, ConnectionInfo, ErrorKind, RedisError, RedisResult};
use std::collections::HashMap;
use std::time::Duration;
use tokio::task::JoinSet;

/// A Sentinel that does not answer within this is passed over (Guidelines for Redis clients with support
/// for Redis Sentinel, step 1).
const TIMEOUT: Duration = Duration::from_millis(300);

/// The Sentinels of one group.
pub(super) struct Sentinels {
    /// Where they are.
    pub(super) addresses: Vec<ConnectionInfo>,
    /// What they call the group.
    pub(super) group: String,
    /// Settings of its servers, with an address to be replaced.
    pub(super) server: ConnectionInfo,
}

/// What they say.
pub(super) struct Said {
    /// The primary, by the one that knows of the latest failover.
    pub(super) primary: ConnectionInfo,
    /// All have answered, and none is in the middle of a failover: no replica has been promoted that they do not
    /// name yet.
    pub(super) settled: bool,
}

/// What one of them says.
#[derive(Debug, PartialEq)]
struct Word {
    /// Counts failovers; the primary of the highest one counts.
    epoch: u64,
    primary: (String, u16),
    failover: bool,
}

impl Sentinels {
    /// Asks all of them. The one that leads a failover is the first to know the new primary, and the others learn of
    /// it up to two seconds later.
    pub(super) async fn ask(&self) -> RedisResult<Said> {
        let mut asked = JoinSet::new();
        for sentinel in &self.addresses {
            let (sentinel, group) = (sentinel.clone(), self.group.clone());
            let mut question = redis::cmd("SENTINEL");
            question.arg("MASTER").arg(&self.group);
            asked.spawn(async move {
                let at = sentinel.addr().to_string();
                let answer =
                    tokio::time::timeout(TIMEOUT, ask_once::<HashMap<String, String>>(sentinel, &question));
                match answer.await {
                    Ok(Ok(fields)) => word(&fields).ok_or_else(|| format!("{at} says what makes no sense")),
                    Ok(Err(error)) if error.to_string().contains("No such master") => {
                        Err(format!("{at} knows no {group}"))
                    }
                    Ok(Err(error)) => Err(format!("{at}: {error}")),
                    Err(_) => Err(format!("{at} does not answer")),
                }
            });
        }
        let (mut words, mut reasons) = (Vec::new(), Vec::new());
        while let Some(done) = asked.join_next().await {
            match done {
                Ok(Ok(word)) => words.push(word),
                Ok(Err(why)) => reasons.push(why),
                Err(error) => reasons.push(error.to_string()),
            }
        }
        let settled = reasons.is_empty() && words.iter().all(|word| !word.failover);
        let Some(Word { primary: (host, port), .. }) = words.into_iter().max_by_key(|word| word.epoch) else {
            reasons.sort();
            let why = reasons.join("; ");
            return Err(RedisError::from((ErrorKind::Io, "no Sentinel tells the primary", why)));
        };
        Ok(Said { primary: self.server.clone().set_addr(ConnectionAddr::Tcp(host, port)), settled })
    }
}

/// Of the fields of `SENTINEL MASTER`.
fn word(fields: &HashMap<String, String>) -> Option<Word> {
    let flags = fields.get("flags")?;
    Some(Word {
        epoch: fields.get("config-epoch")?.parse().ok()?,
        primary: (fields.get("ip")?.clone(), fields.get("port")?.parse().ok()?),
        failover: flags.split(',').any(|flag| flag == "failover_in_progress"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failover_is_seen_and_nonsense_is_none() {
        let fields = |flags: &str, port: &str| -> HashMap<String, String> {
            let all = [("ip", "192.0.2.1"), ("port", port), ("flags", flags), ("config-epoch", "7")];
            all.map(|(name, value)| (name.to_owned(), value.to_owned())).into()
        };
        let primary = ("192.0.2.1".to_owned(), 6379);
        let calm = Word { epoch: 7, primary: primary.clone(), failover: false };
        assert_eq!(word(&fields("master", "6379")), Some(calm));
        let failing = Word { epoch: 7, primary, failover: true };
        assert_eq!(word(&fields("master,o_down,failover_in_progress", "6379")), Some(failing));
        assert_eq!((word(&fields("master", "none")), word(&HashMap::new())), (None, None));
    }
}
