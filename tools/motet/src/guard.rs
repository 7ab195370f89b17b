//! `motet conf lock`, `unlock`, `rename`, `extend`, `shorten`, `password` and `role`.

use crate::client::{Server, Usage};
use crate::conf::done;
use crate::{show, times};
use anyhow::Result;
use clap::{Args, ValueEnum};
use motet_proto::conference::extend_request::To;
use motet_proto::conference::*;
use std::process::ExitCode;
use std::time::Duration;

/// Of which conference, and who asks.
#[derive(Args)]
pub(crate) struct Which {
    /// Id or number
    conference: String,
    /// Ask as this participant, who must be a chair [default: as the application, which may do everything]
    #[arg(long, value_name = "PARTICIPANT", default_value = "")]
    by: String,
    /// The same id does it once: makes the call safe to repeat
    #[arg(long, value_name = "ID", default_value = "")]
    request_id: String,
    #[command(flatten)]
    server: Server,
}

#[derive(Args)]
pub(crate) struct Lock {
    #[command(flatten)]
    which: Which,
}

#[derive(Args)]
pub(crate) struct Rename {
    #[command(flatten)]
    which: Which,
    /// The new name, up to 128 characters
    name: String,
}

#[derive(Args)]
#[command(after_help = times::HELP)]
pub(crate) struct Extend {
    #[command(flatten)]
    which: Which,
    /// By how much, such as 30m
    #[arg(value_parser = humantime::parse_duration, required_unless_present_any = ["end", "no_end"])]
    by_time: Option<Duration>,
    /// Until when instead; see below
    #[arg(long, value_name = "TIME", conflicts_with = "by_time")]
    end: Option<String>,
    /// Let it end no more by time
    #[arg(long, conflicts_with_all = ["by_time", "end"])]
    no_end: bool,
    /// Only if it ends at this time now
    #[arg(long, value_name = "TIME")]
    known_end: Option<String>,
}

#[derive(Args)]
pub(crate) struct Shorten {
    #[command(flatten)]
    which: Which,
    /// By how much, such as 30m
    #[arg(value_parser = humantime::parse_duration)]
    by_time: Duration,
}

#[derive(Args)]
#[command(
    after_help = "Others see what is typed on a command line (ps). The environment is the better place."
)]
pub(crate) struct Password {
    #[command(flatten)]
    which: Which,
    /// Needed to join; '' takes it away
    #[arg(long, value_name = "TEXT", env = "MOTET_PASSWORD", hide_env_values = true)]
    password: Option<String>,
    /// Needed to join as chair; '' takes it away
    #[arg(long, value_name = "TEXT", env = "MOTET_CHAIR_PASSWORD", hide_env_values = true)]
    chair_password: Option<String>,
}

#[derive(Args)]
pub(crate) struct SetRole {
    #[command(flatten)]
    which: Which,
    /// Id of the participant
    participant: String,
    /// What it may do
    role: Role,
}

/// What a participant may do.
#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum Role {
    /// Speaks, and may command
    Chair,
    /// Speaks
    Speaker,
    /// Is muted
    Listener,
    /// Sends nothing
    Viewer,
}

impl Role {
    pub(crate) fn to_wire(self) -> i32 {
        let role = match self {
            Role::Chair => ParticipantRole::Chair,
            Role::Speaker => ParticipantRole::Speaker,
            Role::Listener => ParticipantRole::Listener,
            Role::Viewer => ParticipantRole::Viewer,
        };
        role.into()
    }
}

/// As on the wire.
pub(crate) fn secret(text: Option<String>) -> Option<Secret> {
    text.map(|text| Secret { text })
}

fn told(server: &Server, info: &ConferenceInfo, what: &str) -> Result<ExitCode> {
    done(server.json, show::conference(info), || {
        let name = if info.number.is_empty() { &info.id } else { &info.number };
        format!("conference {name} {what}\n")
    })
}

pub(crate) async fn lock(options: Lock, locked: bool) -> Result<ExitCode> {
    let Which { conference, by, request_id, server } = options.which;
    let (control, mut client) = server.conferences().await?;
    let set = SetLockRequest { conference, locked, by, request_id };
    let info = control.answer(client.set_lock(set)).await?;
    told(&server, &info, if info.locked { "is locked" } else { "is open" })
}

pub(crate) async fn rename(options: Rename) -> Result<ExitCode> {
    let Which { conference, by, request_id, server } = options.which;
    let (control, mut client) = server.conferences().await?;
    let rename = RenameRequest { conference, name: options.name, by, request_id };
    let info = control.answer(client.rename(rename)).await?;
    told(&server, &info, &format!("is called '{}'", info.name))
}

pub(crate) async fn extend(options: Extend) -> Result<ExitCode> {
    let time = |flag: &str, text: &str| times::parse(text, "").map_err(|why| Usage(format!("{flag}: {why}")));
    let to = match (options.by_time, &options.end) {
        (Some(by), _) => To::ByMs(i64::try_from(by.as_millis()).unwrap_or(i64::MAX)),
        (None, Some(end)) => To::EndUnixMs(time("--end", end)?),
        (None, None) => To::EndUnixMs(0),
    };
    let known = options.known_end.as_deref().map(|known| time("--known-end", known)).transpose()?;
    move_end(options.which, to, known).await
}

pub(crate) async fn shorten(options: Shorten) -> Result<ExitCode> {
    let by = i64::try_from(options.by_time.as_millis()).unwrap_or(i64::MAX);
    move_end(options.which, To::ByMs(-by), None).await
}

async fn move_end(which: Which, to: To, known_end_unix_ms: Option<i64>) -> Result<ExitCode> {
    let Which { conference, by, request_id, server } = which;
    let (control, mut client) = server.conferences().await?;
    let extend = ExtendRequest { conference, to: Some(to), known_end_unix_ms, by, request_id };
    let info = control.answer(client.extend(extend)).await?;
    let what = match info.end_unix_ms {
        0 => "ends no more by time".to_owned(),
        end => format!("ends at {}", times::written(end)),
    };
    told(&server, &info, &what)
}

pub(crate) async fn password(options: Password) -> Result<ExitCode> {
    let Which { conference, by, request_id, server } = options.which;
    let (password, chair_password) = (secret(options.password), secret(options.chair_password));
    let (control, mut client) = server.conferences().await?;
    let set = SetPasswordRequest { conference, password, chair_password, by, request_id };
    let info = control.answer(client.set_password(set)).await?;
    let what = match (info.has_password, info.has_chair_password) {
        (true, true) => "needs a password, and another one from chairs",
        (true, false) => "needs a password",
        (false, true) => "needs a password from chairs",
        (false, false) => "needs no password",
    };
    told(&server, &info, what)
}

pub(crate) async fn role(options: SetRole) -> Result<ExitCode> {
    let Which { conference, by, request_id, server } = options.which;
    let (participant, role) = (options.participant, options.role.to_wire());
    let (control, mut client) = server.conferences().await?;
    let set = SetRoleRequest { conference, participant, role, by, request_id };
    let info = control.answer(client.set_role(set)).await?;
    done(server.json, show::participant(&info), || format!("{} is {} now\n", info.id, show::role(&info)))
}
