//! Where things are in ZooKeeper, and sessions there.

use std::time::Duration;
use zookeeper_client::{Acl, Acls, AuthId, Client, CreateMode, CreateOptions, Error, Permission};

/// A server is given up after so long without an answer to a connection.
const CONNECT_PATIENCE: Duration = Duration::from_secs(5);
/// Pause before the next attempt.
pub(crate) const AGAIN: Duration = Duration::from_secs(1);

/// Which ZooKeeper, and where in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ZooKeeperOptions {
    /// Connect string: `HOST:PORT[,HOST:PORT...][/PATH]`.
    pub servers: String,
    /// *SrcType* of the resources, such as `Mpu`.
    pub kind: String,
    /// `USER:PASSWORD` (scheme *digest*), best one of each process's own. With it only who knows it changes what this
    /// process makes, and only the end of the session removes a resource; without, anybody may do both.
    pub auth: Option<String>,
    /// A session that is not heard for so long is over, and what it made goes. The server may round it.
    pub session: Duration,
}

/// Why options make no sense.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OptionsError {
    /// No server.
    #[error("'{0}' must name servers: HOST:PORT[,HOST:PORT...][/PATH]")]
    Servers(String),
    /// No word.
    #[error("'{0}' must be 1 to 32 letters and digits, such as Mpu")]
    Kind(String),
    /// No colon.
    #[error("it must be USER:PASSWORD")]
    Auth,
}

impl ZooKeeperOptions {
    /// Checks everything that can be checked without a server.
    pub fn new(
        servers: &str,
        kind: &str,
        auth: Option<&str>,
        session: Duration,
    ) -> Result<ZooKeeperOptions, OptionsError> {
        let hosts = servers.split('/').next().unwrap_or_default();
        let fine = |host: &str| {
            host.rsplit_once(':').is_some_and(|(name, port)| !name.is_empty() && port.parse::<u16>().is_ok())
        };
        if !hosts.split(',').all(fine) || servers.ends_with('/') {
            return Err(OptionsError::Servers(servers.to_owned()));
        }
        if kind.is_empty() || kind.len() > 32 || !kind.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return Err(OptionsError::Kind(kind.to_owned()));
        }
        if auth.is_some_and(|auth| !auth.contains(':')) {
            return Err(OptionsError::Auth);
        }
        Ok(ZooKeeperOptions {
            servers: servers.to_owned(),
            kind: kind.to_owned(),
            auth: auth.map(str::to_owned),
            session,
        })
    }

    /// `/{SrcType}/{part}`.
    pub(crate) fn part(&self, part: Part) -> String {
        format!("/{}/{}", self.kind, part.name())
    }

    /// A new session, with the three parts of the tree there.
    pub(crate) async fn open(&self) -> Result<Client, Error> {
        let mut connector = Client::connector().with_session_timeout(self.session);
        if let Some(auth) = &self.auth {
            connector = connector.with_auth("digest", auth.as_bytes());
        }
        let connect = connector.connect(&self.servers);
        let client = tokio::time::timeout(CONNECT_PATIENCE, connect).await.map_err(|_| Error::Timeout)??;
        self.lay(&client).await?;
        Ok(client)
    }

    /// Makes the folders that are not there yet.
    async fn lay(&self, client: &Client) -> Result<(), Error> {
        let kind = format!("/{}", self.kind);
        self.folder(client, &kind, Permission::READ | Permission::CREATE).await?;
        for part in [Part::Source, Part::ApplyQueue, Part::ReserveQueue] {
            self.folder(client, &self.part(part), part.permitted()).await?;
        }
        Ok(())
    }

    /// A folder that is there is used as it is, so that a platform may lay the tree with an ACL of its own; but what
    /// a process without an identity left open is closed by the first with one.
    async fn folder(&self, client: &Client, path: &str, permitted: Permission) -> Result<(), Error> {
        // Nobody, the one who makes it included, owns it: who comes later is not locked out.
        let closed = [Acl::new(permitted, AuthId::anyone())];
        if client.check_stat(path).await?.is_none() {
            let acls = if self.auth.is_some() { Acls::new(&closed) } else { Acls::anyone_all() };
            match client.create(path, b"", &CreateMode::Persistent.with_acls(acls)).await {
                Ok(_) => return Ok(()),
                Err(Error::NodeExists) => {}
                Err(error) => return Err(error),
            }
        }
        if self.auth.is_some() {
            let (acl, _) = client.get_acl(path).await?;
            if acl == [Acl::new(Permission::ALL, AuthId::anyone())] {
                match client.set_acl(path, &closed, None).await {
                    // Another process was first.
                    Ok(_) | Err(Error::NoAuth) => {}
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(())
    }

    /// Makes a node that goes with the session, named `prefix` and a number. Gives its path.
    pub(crate) async fn make(
        &self,
        client: &Client,
        part: Part,
        prefix: &str,
        content: &[u8],
    ) -> Result<String, Error> {
        let own = [Acl::new(Permission::ALL, AuthId::authed()), Acl::new(Permission::READ, AuthId::anyone())];
        let acls = if self.auth.is_some() { Acls::new(&own) } else { Acls::anyone_all() };
        let path = format!("{}/{prefix}", self.part(part));
        let options: CreateOptions<'_> = CreateMode::EphemeralSequential.with_acls(acls);
        let (_, number) = client.create(&path, content, &options).await?;
        Ok(format!("{path}{number}"))
    }
}

/// A part of a kind's tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Source,
    ApplyQueue,
    ReserveQueue,
}

impl Part {
    fn name(self) -> &'static str {
        match self {
            Part::Source => "Source",
            Part::ApplyQueue => "ApplyQueue",
            Part::ReserveQueue => "ReserveQueue",
        }
    }

    /// What anybody may do where processes have identities. In ZooKeeper who may delete an entry is a matter of its
    /// folder: entries of Source go with their sessions alone; a place or a promise is given back, and a promise
    /// whose time is over is taken away by whoever comes next.
    fn permitted(self) -> Permission {
        let all = Permission::READ | Permission::CREATE;
        if self == Part::Source { all } else { all | Permission::DELETE }
    }
}

/// The number that ZooKeeper gave; what has none comes last.
pub(crate) fn number(name: &str) -> u64 {
    let digits = name.len() - name.trim_end_matches(|end: char| end.is_ascii_digit()).len();
    name[name.len() - digits..].parse().unwrap_or(u64::MAX)
}

/// Whether the session is over, so that a new one is needed.
pub(crate) fn over(error: &Error) -> bool {
    matches!(error, Error::SessionExpired | Error::ClientClosed | Error::AuthFailed | Error::SessionMoved)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_ordered_by_their_numbers() {
        assert_eq!(number("apply-0000000012"), 12);
        assert_eq!(number("Mpu0000000003"), 3);
        assert_eq!(number("stray"), u64::MAX);
    }

    #[test]
    fn options_are_checked_before_a_server_is_asked() {
        let new = |servers, kind, auth| ZooKeeperOptions::new(servers, kind, auth, Duration::from_secs(4));
        let options = new("zk1:2181,zk2:2181/motet", "Mpu", Some("me:secret")).expect("all is fine");
        assert_eq!(options.part(Part::ReserveQueue), "/Mpu/ReserveQueue");
        for servers in ["", "zk1", "zk1:2181,", "zk1:x", "zk1:2181/"] {
            assert_eq!(new(servers, "Mpu", None), Err(OptionsError::Servers(servers.into())), "{servers}");
        }
        assert_eq!(new("a:1", "a/b", None), Err(OptionsError::Kind("a/b".into())));
        assert_eq!(new("a:1", "Mpu", Some("secret")), Err(OptionsError::Auth));
    }
}
