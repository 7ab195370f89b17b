//! Where things are in ZooKeeper, and sessions there.

use crate::function::{Function, Kinds};
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
    /// *SrcType* of each function of a node.
    pub kinds: Kinds,
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
    #[error(
        "'{0}' must be FUNCTION=TYPE: relay, mixing or recording, and 1 to 32 letters and digits, such as mixing=Mpu"
    )]
    Kind(String),
    /// Two functions have it.
    #[error("two functions cannot have the type '{0}'")]
    OneKind(String),
    /// No colon.
    #[error("it must be USER:PASSWORD")]
    Auth,
}

impl ZooKeeperOptions {
    /// Checks everything that can be checked without a server.
    pub fn new(
        servers: &str,
        kinds: Kinds,
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
        if auth.is_some_and(|auth| !auth.contains(':')) {
            return Err(OptionsError::Auth);
        }
        Ok(ZooKeeperOptions { servers: servers.to_owned(), kinds, auth: auth.map(str::to_owned), session })
    }

    /// `/{SrcType}/{part}`.
    pub(crate) fn part(&self, function: Function, part: Part) -> String {
        format!("/{}/{}", self.kinds.of(function), part.name())
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
        let listed = Permission::READ | Permission::CREATE;
        // The path of the connect string may be other programs', too: if it is there, it stays as it is.
        let root = client.clone().chroot("/").unwrap_or_else(|same| same);
        let path = client.path();
        let ends = path.match_indices('/').map(|(at, _)| at).chain([path.len()]);
        for end in ends.filter(|end| *end > 1) {
            self.make_folder(&root, &path[..end], listed).await?;
        }
        for function in Function::ALL {
            self.folder(client, &format!("/{}", self.kinds.of(function)), listed).await?;
            for part in [Part::Source, Part::ApplyQueue, Part::ReserveQueue] {
                self.folder(client, &self.part(function, part), part.permitted()).await?;
            }
        }
        Ok(())
    }

    /// A folder that is there is used as it is, so that a platform may lay the tree with an ACL of its own; but what
    /// a process without an identity left open is closed by the first with one.
    async fn folder(&self, client: &Client, path: &str, permitted: Permission) -> Result<(), Error> {
        if self.make_folder(client, path, permitted).await? || self.auth.is_none() {
            return Ok(());
        }
        match client.get_acl(path).await {
            Ok((acl, _)) if acl == [Acl::new(Permission::ALL, AuthId::anyone())] => {}
            Ok(_) | Err(Error::NoAuth) => return Ok(()),
            Err(error) => return Err(error),
        }
        match client.set_acl(path, &[Acl::new(permitted, AuthId::anyone())], None).await {
            // Another process was first.
            Ok(_) | Err(Error::NoAuth) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// False: it is there.
    async fn make_folder(&self, client: &Client, path: &str, permitted: Permission) -> Result<bool, Error> {
        if client.check_stat(path).await?.is_some() {
            return Ok(false);
        }
        // Nobody, the one who makes it included, owns it: who comes later is not locked out.
        let closed = [Acl::new(permitted, AuthId::anyone())];
        let acls = if self.auth.is_some() { Acls::new(&closed) } else { Acls::anyone_all() };
        match client.create(path, b"", &CreateMode::Persistent.with_acls(acls)).await {
            Ok(_) => Ok(true),
            Err(Error::NodeExists) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Makes a node that goes with the session, named `prefix` and a number. Gives its path.
    pub(crate) async fn make(
        &self,
        client: &Client,
        folder: &str,
        prefix: &str,
        content: &[u8],
    ) -> Result<String, Error> {
        let own = [Acl::new(Permission::ALL, AuthId::authed()), Acl::new(Permission::READ, AuthId::anyone())];
        let acls = if self.auth.is_some() { Acls::new(&own) } else { Acls::anyone_all() };
        let path = format!("{folder}/{prefix}");
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
        let new =
            |servers, auth| ZooKeeperOptions::new(servers, Kinds::default(), auth, Duration::from_secs(4));
        let options = new("zk1:2181,zk2:2181/motet", Some("me:secret")).expect("all is fine");
        assert_eq!(options.part(Function::Mixing, Part::ReserveQueue), "/Mpu/ReserveQueue");
        for servers in ["", "zk1", "zk1:2181,", "zk1:x", "zk1:2181/"] {
            assert_eq!(new(servers, None), Err(OptionsError::Servers(servers.into())), "{servers}");
        }
        assert_eq!(new("a:1", Some("secret")), Err(OptionsError::Auth));
    }
}
