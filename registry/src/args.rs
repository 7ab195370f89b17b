//! The command line's part.

use crate::function::Kinds;
use crate::tree::{OptionsError, ZooKeeperOptions};
use std::time::Duration;

/// Which ZooKeeper, for programs that may use one.
#[derive(clap::Args, Clone, Debug, Default)]
#[command(next_help_heading = "ZooKeeper")]
pub struct ZooKeeperArgs {
    /// Find nodes in ZooKeeper too, or be found there: `HOST:PORT[,HOST:PORT...][/PATH]`
    #[arg(long, value_name = "SERVERS")]
    pub zookeeper: Option<String>,

    /// SrcType of a function of media nodes, relay, mixing or recording, which is in /TYPE/Source; may be given several
    /// times [default: relay=CMU,mixing=Mpu,recording=Vrs]
    #[arg(long, value_name = "FUNCTION=TYPE", value_delimiter = ',', requires = "zookeeper")]
    pub zookeeper_kind: Vec<String>,

    /// USER:PASSWORD (scheme digest): best one of its own; only who knows it changes what this process writes there;
    /// without it, anybody
    #[arg(long, value_name = "USER:PASSWORD", env = "MOTET_ZOOKEEPER_AUTH", hide_env_values = true)]
    pub zookeeper_auth: Option<String>,

    /// What this process wrote goes when it was not heard of for so long, in milliseconds, 1000 to 60000; the
    /// server may round it
    #[arg(
        long,
        value_name = "MS",
        default_value_t = 4000,
        value_parser = clap::value_parser!(u64).range(1_000..=60_000),
        requires = "zookeeper"
    )]
    pub zookeeper_session_ms: u64,
}

impl ZooKeeperArgs {
    /// None: no ZooKeeper is used. Errors name the option.
    pub fn options(&self) -> Result<Option<ZooKeeperOptions>, String> {
        let Some(servers) = &self.zookeeper else { return Ok(None) };
        let session = Duration::from_millis(self.zookeeper_session_ms);
        let options = Kinds::with(self.zookeeper_kind.iter().map(String::as_str))
            .and_then(|kinds| ZooKeeperOptions::new(servers, kinds, self.zookeeper_auth.as_deref(), session));
        options.map(Some).map_err(|error| match error {
            OptionsError::Servers(_) => format!("--zookeeper: {error}"),
            OptionsError::Kind(_) | OptionsError::OneKind(_) => format!("--zookeeper-kind: {error}"),
            OptionsError::Auth => format!("--zookeeper-auth: {error}"),
        })
    }
}
