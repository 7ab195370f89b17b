//! `motet reservations`, `rooms` and `templates`: what conferences come of.

use crate::client::{Server, Usage};
use crate::conf::{Wishes, done};
use crate::{picture, show, sound, times};
use anyhow::Result;
use clap::{Args, Subcommand};
use motet_proto::conference::conference_client::ConferenceClient;
use motet_proto::conference::*;
use motet_rtpgen::reach::{Connection, Link};
use std::process::ExitCode;
use std::time::Duration;

/// When a conference begins and ends.
#[derive(Args, Default)]
pub(crate) struct Times {
    /// Reserve it for this time; see below
    #[arg(long, value_name = "TIME")]
    start: Option<String>,
    /// When it ends
    #[arg(long, value_name = "TIME", conflicts_with = "duration")]
    end: Option<String>,
    /// How long it lasts, such as 45m
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    duration: Option<Duration>,
    /// Again and again: daily, weekly, monthly, or a rule of RFC 5545 such as
    /// FREQ=WEEKLY;BYDAY=MO,TH;COUNT=20
    #[arg(long, value_name = "RULE", requires = "start")]
    repeat: Option<String>,
    /// How many times, with --repeat
    #[arg(long, value_name = "N", requires = "repeat")]
    count: Option<u32>,
    /// Until this day, such as 2026-12-24, with --repeat
    #[arg(long, value_name = "DAY", requires = "repeat", conflicts_with = "count")]
    until: Option<String>,
    /// Whose clock --start, --end and --repeat go by, such as Europe/Berlin [default: UTC]
    #[arg(long, value_name = "ZONE", default_value = "")]
    time_zone: String,
    /// How long before its end an event tells so, such as 5m [default: as control is told, 10m]
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    notice: Option<Duration>,
    /// End it when nobody has been there for so long, such as 1m
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    end_when_empty: Option<Duration>,
}

impl Times {
    /// Puts them into a request.
    pub(crate) fn fill(&self, create: &mut CreateRequest) -> Result<(), Usage> {
        let time = |flag: &str, text: &Option<String>| {
            let parsed = text.as_ref().map(|text| times::parse(text, &self.time_zone)).transpose();
            parsed.map(Option::unwrap_or_default).map_err(|why| Usage(format!("{flag}: {why}")))
        };
        create.start_unix_ms = time("--start", &self.start)?;
        create.end_unix_ms = time("--end", &self.end)?;
        create.duration_ms = self.duration.map_or(0, millis);
        create.notice_ms = self.notice.map(|notice| u32::try_from(millis(notice)).unwrap_or(u32::MAX));
        create.empty_ms =
            self.end_when_empty.map_or(0, |empty| u32::try_from(millis(empty)).unwrap_or(u32::MAX));
        if self.start.is_some() {
            create.r#type = ConferenceType::Reserve.into();
        }
        create.recurrence = self.repeat.as_ref().map(|repeat| Recurrence {
            rule: times::rule(repeat, self.count, self.until.as_deref()),
            time_zone: self.time_zone.clone(),
        });
        Ok(())
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// Options of `motet reservations`.
#[derive(Args)]
pub(crate) struct ReservationsOptions {
    #[command(subcommand)]
    command: Reservations,
}

#[derive(Subcommand)]
enum Reservations {
    /// List reservations, and when they take place next
    List(List),
    /// Reserve a conference; the same as `motet conf create --start`
    Create(Box<Create>),
    /// Show a reservation
    Show(One),
    /// Let no more conferences come of a reservation; one that runs goes on
    Cancel(One),
}

/// Options of `motet rooms`.
#[derive(Args)]
pub(crate) struct RoomsOptions {
    #[command(subcommand)]
    command: Rooms,
}

#[derive(Subcommand)]
enum Rooms {
    /// List virtual rooms, and what runs in them
    List(List),
    /// Make a virtual room: a conference begins when somebody joins its number
    Create(Box<Create>),
    /// Show a virtual room
    Show(One),
    /// Close a virtual room for good; a conference that runs in it goes on
    Remove(One),
}

/// Options of `motet templates`.
#[derive(Args)]
pub(crate) struct TemplatesOptions {
    #[command(subcommand)]
    command: Templates,
}

#[derive(Subcommand)]
enum Templates {
    /// List templates
    List(List),
    /// Make a template, for `motet conf create --template`
    Create(Box<Create>),
    /// Show a template
    Show(One),
    /// Forget a template; what was created from it stays
    Remove(One),
}

#[derive(Args)]
struct List {
    #[command(flatten)]
    server: Server,
}

#[derive(Args)]
#[command(after_help = help())]
struct Create {
    #[command(flatten)]
    wishes: Wishes,
    #[command(flatten)]
    times: Times,
    #[command(flatten)]
    server: Server,
}

#[derive(Args)]
struct One {
    /// Its id, number or name
    #[arg(value_name = "ID")]
    booking: String,
    #[command(flatten)]
    server: Server,
}

/// What is said below the options.
pub(crate) fn help() -> String {
    let video = picture::MODES.replacen("A MODE", "A MODE of --video", 1);
    format!("{}\n\n{}\n\n{video}", times::HELP, sound::MODES)
}

/// Runs `motet reservations`.
pub(crate) async fn reservations(options: ReservationsOptions) -> Result<ExitCode> {
    let kind = ConferenceType::Reserve;
    match options.command {
        Reservations::List(list) => show_all(kind, list.server).await,
        Reservations::Create(create) => make(kind, *create).await,
        Reservations::Show(one) => show_one(kind, one).await,
        Reservations::Cancel(one) => end(kind, one).await,
    }
}

/// Runs `motet rooms`.
pub(crate) async fn rooms(options: RoomsOptions) -> Result<ExitCode> {
    let kind = ConferenceType::Virtual;
    match options.command {
        Rooms::List(list) => show_all(kind, list.server).await,
        Rooms::Create(create) => make(kind, *create).await,
        Rooms::Show(one) => show_one(kind, one).await,
        Rooms::Remove(one) => end(kind, one).await,
    }
}

/// Runs `motet templates`.
pub(crate) async fn templates(options: TemplatesOptions) -> Result<ExitCode> {
    let kind = ConferenceType::Templet;
    match options.command {
        Templates::List(list) => show_all(kind, list.server).await,
        Templates::Create(create) => make(kind, *create).await,
        Templates::Show(one) => show_one(kind, one).await,
        Templates::Remove(one) => end(kind, one).await,
    }
}

async fn booked(
    kind: ConferenceType,
    server: &Server,
) -> Result<(Connection, ConferenceClient<Link>, Vec<ConferenceInfo>)> {
    let (control, mut client) = server.conferences().await?;
    let list = ListRequest { booked: true, ..Default::default() };
    let mut all = control.answer(client.list(list)).await?.conferences;
    all.retain(|info| info.r#type() == kind);
    Ok((control, client, all))
}

async fn show_all(kind: ConferenceType, server: Server) -> Result<ExitCode> {
    let (_, _, all) = booked(kind, &server).await?;
    done(server.json, all.iter().map(show::conference).collect(), || show::booking_table(&all))
}

async fn make(kind: ConferenceType, options: Create) -> Result<ExitCode> {
    let mut create = options.wishes.request()?;
    options.times.fill(&mut create)?;
    create.r#type = kind.into();
    let (control, mut client) = options.server.conferences().await?;
    let info = control.answer(client.create(create)).await?;
    done(options.server.json, show::conference(&info), || show::booking_page(&info))
}

/// The one of this id, number or name.
async fn find(
    kind: ConferenceType,
    one: &One,
) -> Result<(Connection, ConferenceClient<Link>, ConferenceInfo)> {
    let (control, client, all) = booked(kind, &one.server).await?;
    let same = |info: &&ConferenceInfo| info.id == one.booking || info.number == one.booking;
    let named = || all.iter().filter(|info| info.name == one.booking).collect::<Vec<_>>();
    let found = match all.iter().find(same).map(|info| vec![info]).unwrap_or_else(named).as_slice() {
        [] => anyhow::bail!("nothing there has the id, number or name '{}'", one.booking),
        [info] => (*info).clone(),
        [..] => anyhow::bail!("several have the name '{}'; give the id", one.booking),
    };
    Ok((control, client, found))
}

async fn show_one(kind: ConferenceType, one: One) -> Result<ExitCode> {
    let (_, _, info) = find(kind, &one).await?;
    done(one.server.json, show::conference(&info), || show::booking_page(&info))
}

async fn end(kind: ConferenceType, one: One) -> Result<ExitCode> {
    let (control, mut client, info) = find(kind, &one).await?;
    let end = EndRequest { conference: info.id, ..Default::default() };
    let info = control.answer(client.end(end)).await?;
    done(one.server.json, show::conference(&info), || {
        let running = info.booked.as_ref().map(|booked| booked.running.as_str()).unwrap_or_default();
        match running {
            "" => format!("{} ended\n", info.id),
            running => format!("{} ends when its conference {running} is over\n", info.id),
        }
    })
}
