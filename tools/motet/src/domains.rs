//! `motet domains`: who owns conferences, and who serves them.

use crate::client::{Server, Usage};
use crate::conf::done;
use crate::show;
use anyhow::{Context, Result};
use clap::{Args, Subcommand, ValueEnum};
use motet_proto::domains::domains_client::DomainsClient;
use motet_proto::domains::*;
use motet_rtpgen::reach::{Connection, Link};
use serde::Deserialize;
use std::path::PathBuf;
use std::process::ExitCode;

/// Options of `motet domains`.
#[derive(Args)]
pub(crate) struct DomainsOptions {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// List all domains
    List(List),
    /// Set up a domain, or change it; what is not given stays as it is
    Set(Box<Set>),
    /// Forget a domain that no other one needs
    Remove(Remove),
    /// Show what a user domain may do, where, and how much of its limits is in use
    Show(Show),
    /// Set up all domains of a file
    Load(Load),
}

#[derive(Args)]
struct List {
    #[command(flatten)]
    server: Server,
}

#[derive(Args)]
struct Set {
    /// MOID of the domain
    moid: String,
    /// What it is [default: user]
    #[arg(long)]
    level: Option<DomainLevel>,
    /// MOID of the service domain above
    #[arg(long, value_name = "MOID")]
    parent: Option<String>,
    /// Name for people
    #[arg(long)]
    name: Option<String>,
    /// Whether it is in use
    #[arg(long, value_name = "true|false")]
    used: Option<bool>,
    /// Small conferences at once, or none for no limit
    #[arg(long, value_name = "N|none", value_parser = limit)]
    small_max: Option<Limit>,
    /// Large conferences at once, or none for no limit
    #[arg(long, value_name = "N|none", value_parser = limit)]
    large_max: Option<Limit>,
    /// What it may not do: h265, full-hd, mixing, recording, with commas between; '' for nothing
    #[arg(long, value_name = "FEATURES")]
    forbid: Option<String>,
    /// Of a platform: numbers to choose from, such as 500000-599999, with commas between
    #[arg(long, value_name = "FIRST-LAST,...")]
    numbers: Option<String>,
    /// Of a user domain: MOID of the platform that is preferred
    #[arg(long, value_name = "MOID")]
    home: Option<String>,
    #[command(flatten)]
    server: Server,
}

#[derive(Args)]
struct Remove {
    /// MOID of the domain
    moid: String,
    #[command(flatten)]
    server: Server,
}

#[derive(Args)]
struct Show {
    /// MOID of a user domain
    moid: String,
    #[command(flatten)]
    server: Server,
}

#[derive(Args)]
#[command(after_help = FILE)]
struct Load {
    /// A TOML file; see below
    file: PathBuf,
    #[command(flatten)]
    server: Server,
}

const FILE: &str = "\
A file has one [[domain]] for each, in any order:

  [[domain]]
  moid = \"p1\"
  level = \"platform\"            # user, platform or service
  parent = \"s1\"                 # MOID of the service domain above
  name = \"Berlin\"
  used = true
  small_max = 200               # and large_max: conferences at once
  forbid = [\"h265\"]             # full-hd, mixing, recording
  numbers = [\"500000-599999\"]   # of platforms
  home = \"p1\"                   # of user domains: the platform that is preferred";

/// What a domain is.
#[derive(Clone, Copy, Debug, ValueEnum, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum DomainLevel {
    /// Owns conferences
    User,
    /// Serves them
    Platform,
    /// Holds user and platform domains, and further service domains
    Service,
}

/// None: no limit.
#[derive(Clone, Copy, Debug)]
struct Limit(Option<u32>);

fn limit(text: &str) -> Result<Limit, String> {
    match text {
        "none" => Ok(Limit(None)),
        text => {
            text.parse().map(|limit| Limit(Some(limit))).map_err(|_| "must be a number, or none".to_owned())
        }
    }
}

/// A domain as a file has it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    moid: String,
    level: DomainLevel,
    #[serde(default)]
    parent: String,
    #[serde(default)]
    name: String,
    #[serde(default = "yes")]
    used: bool,
    small_max: Option<u32>,
    large_max: Option<u32>,
    #[serde(default)]
    forbid: Vec<String>,
    #[serde(default)]
    numbers: Vec<String>,
    #[serde(default)]
    home: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    domain: Vec<Written>,
}

fn yes() -> bool {
    true
}

impl Written {
    fn to_wire(&self) -> Result<Domain, Usage> {
        Ok(Domain {
            moid: self.moid.clone(),
            level: level(self.level),
            parent: self.parent.clone(),
            name: self.name.clone(),
            disabled: !self.used,
            small_max: self.small_max,
            large_max: self.large_max,
            forbidden: features(self.forbid.iter().map(String::as_str))?,
            numbers: ranges(self.numbers.iter().map(String::as_str))?,
            home_platform: self.home.clone(),
            version: 0,
        })
    }
}

fn level(level: DomainLevel) -> i32 {
    let level = match level {
        DomainLevel::User => Level::User,
        DomainLevel::Platform => Level::Platform,
        DomainLevel::Service => Level::Service,
    };
    level.into()
}

/// Features by their names.
pub(crate) fn features<'a>(names: impl Iterator<Item = &'a str>) -> Result<Vec<i32>, Usage> {
    let one = |name: &str| match name {
        "h265" => Ok(Feature::H265.into()),
        "full-hd" => Ok(Feature::FullHd.into()),
        "mixing" => Ok(Feature::Mixing.into()),
        "recording" => Ok(Feature::Recording.into()),
        _ => Err(Usage(format!("forbid: '{name}' must be h265, full-hd, mixing or recording"))),
    };
    names.filter(|name| !name.is_empty()).map(one).collect()
}

fn ranges<'a>(texts: impl Iterator<Item = &'a str>) -> Result<Vec<NumberRange>, Usage> {
    let one = |text: &str| {
        let (first, last) = text.split_once('-')?;
        Some(NumberRange { first: first.parse().ok()?, last: last.parse().ok()? })
    };
    let wrong = |text: &str| Usage(format!("numbers: '{text}' must be like 500000-599999"));
    texts.filter(|text| !text.is_empty()).map(|text| one(text).ok_or_else(|| wrong(text))).collect()
}

async fn connect(server: &Server) -> Result<(Connection, DomainsClient<Link>)> {
    let control = server.connect().await?;
    let client = DomainsClient::new(control.channel());
    Ok((control, client))
}

/// Runs `motet domains`.
pub(crate) async fn run(options: DomainsOptions) -> Result<ExitCode> {
    match options.command {
        Command::List(list) => {
            let (control, mut client) = connect(&list.server).await?;
            let domains = control.answer(client.list(ListRequest {})).await?.domains;
            let shown = domains.iter().map(show::domain).collect();
            done(list.server.json, shown, || show::domain_table(&domains))
        }
        Command::Set(options) => set(*options).await,
        Command::Remove(Remove { moid, server }) => {
            let (control, mut client) = connect(&server).await?;
            let request = RemoveRequest { moid: moid.clone() };
            let existed = control.answer(client.remove(request)).await?.existed;
            done(server.json, serde_json::json!({ "existed": existed }), || {
                format!("{moid} {}\n", if existed { "is forgotten" } else { "was not there" })
            })
        }
        Command::Show(Show { moid, server }) => {
            let (control, mut client) = connect(&server).await?;
            let request = ResolveRequest { user_domain: moid };
            let resolved = control.answer(client.resolve(request)).await?;
            done(server.json, show::resolved(&resolved), || show::resolved_page(&resolved))
        }
        Command::Load(options) => load(options).await,
    }
}

async fn set(options: Set) -> Result<ExitCode> {
    let (control, mut client) = connect(&options.server).await?;
    let known = control.answer(client.list(ListRequest {})).await?.domains;
    let known = known.into_iter().find(|domain| domain.moid == options.moid);
    let mut domain = known.unwrap_or_else(|| Domain { moid: options.moid.clone(), ..Default::default() });
    if let Some(given) = options.level {
        domain.level = level(given);
    }
    if let Some(parent) = options.parent {
        domain.parent = parent;
    }
    if let Some(name) = options.name {
        domain.name = name;
    }
    if let Some(used) = options.used {
        domain.disabled = !used;
    }
    if let Some(Limit(limit)) = options.small_max {
        domain.small_max = limit;
    }
    if let Some(Limit(limit)) = options.large_max {
        domain.large_max = limit;
    }
    if let Some(forbid) = options.forbid {
        domain.forbidden = features(forbid.split(','))?;
    }
    if let Some(numbers) = options.numbers {
        domain.numbers = ranges(numbers.split(','))?;
    }
    if let Some(home) = options.home {
        domain.home_platform = home;
    }
    let domain = control.answer(client.set(SetRequest { domain: Some(domain) })).await?;
    done(options.server.json, show::domain(&domain), || show::domain_table(std::slice::from_ref(&domain)))
}

async fn load(options: Load) -> Result<ExitCode> {
    let Load { file, server } = options;
    let text = std::fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
    let written: File =
        toml::from_str(&text).map_err(|error| Usage(format!("{}: {error}", file.display())))?;
    let mut domains = written.domain.iter().map(Written::to_wire).collect::<Result<Vec<_>, Usage>>()?;
    // Who is above comes first: service domains from the top, platforms, users.
    let above = |moid: &str| {
        let parent = |moid: &str| {
            let found = written.domain.iter().find(|domain| domain.moid == moid);
            found.map(|domain| domain.parent.clone()).filter(|parent| !parent.is_empty())
        };
        std::iter::successors(parent(moid), |moid| parent(moid)).take(written.domain.len()).count()
    };
    domains.sort_by_key(|domain| (std::cmp::Reverse(domain.level), above(&domain.moid)));
    let (control, mut client) = connect(&server).await?;
    let mut set = Vec::new();
    for domain in domains {
        let moid = domain.moid.clone();
        let request = SetRequest { domain: Some(domain) };
        let answer = control.answer(client.set(request)).await;
        set.push(answer.with_context(|| format!("domain {moid}; {} were set up before", set.len()))?);
    }
    done(server.json, set.iter().map(show::domain).collect(), || show::domain_table(&set))
}
