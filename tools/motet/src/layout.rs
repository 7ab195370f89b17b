//! `motet conf layout`: how a composed picture is divided, for all or for one.

use crate::client::{Server, Usage};
use crate::conf::done;
use crate::picture::{canvas_of, change, composed};
use crate::show;
use anyhow::{Context, Result};
use clap::Args;
use motet_proto::conference::*;
use motet_proto::media::{CanvasSettings, CanvasView, CellShows, CellSubject};
use std::process::ExitCode;

/// Explains layouts; shown by `--help`.
const LAYOUTS: &str = "\
A LAYOUT is one of
  auto                  equal cells, as many as people are seen; with --pin a large one, and small ones
  equal:N               1 to 25 equal cells
  1+5, 1+7, 1+12        a large cell for the speaker, small ones around it
  2+8                   two large cells for the speaker and the one before, eight small ones
  pip                   the speaker, and the one before in a corner
  custom:LEFT,TOP,WIDTH,HEIGHT;...
                        cells of one's own in percent, the first for the speaker, such as
                        'custom:0,0,75,100;75,0,25,50;75,50,25,50'

Without LAYOUT it stays, and only what is given is changed. Examples:
  motet conf layout 700 1+7 --pin alice       all see alice large, unless they have chosen otherwise
  motet conf layout 700 --for-all             nobody's own choice counts
  motet conf layout 700 pip --for bob         bob alone has another layout
  motet conf layout 700 --for bob --pin erin --hide-self
  motet conf layout 700 --for bob --reset     and sees what all see again";

#[derive(Args)]
#[command(after_help = LAYOUTS)]
pub(crate) struct Layout {
    /// Id or number
    conference: String,
    /// See below [default: as it is]
    layout: Option<String>,
    /// Who is to be seen in a cell, counted from 0 in the layout's order: a participant, @speaker, @previous,
    /// @nobody, @content that is shared, or @turns: all in turn, or these, each for so many seconds (@turns:alice,bob/5); all other cells show whom the layout says. May be given several times
    #[arg(long = "cell", value_name = "N=WHO", value_parser = parse_cell)]
    cells: Vec<CellSubject>,
    /// This participant is seen in the first cell while it is there, whoever speaks
    #[arg(long, value_name = "PARTICIPANT")]
    pin: Option<String>,
    /// Nobody is
    #[arg(long, conflicts_with = "pin")]
    no_pin: bool,
    /// Nobody sees their own picture, or with --for: this one does not; =false: they do
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    hide_self: Option<bool>,
    /// Everybody sees this, whatever they have chosen for themselves; =false: what they have chosen counts
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    for_all: Option<bool>,
    /// Only of what this participant sees
    #[arg(long = "for", value_name = "PARTICIPANT", conflicts_with = "for_all")]
    participant: Option<String>,
    /// It sees what all see again
    #[arg(long, requires = "participant", conflicts_with_all = ["layout", "cells", "pin", "no_pin", "hide_self"])]
    reset: bool,
    /// Ask as this participant, who must be a chair or the one that it is for [default: as the application]
    #[arg(long, value_name = "PARTICIPANT", default_value = "")]
    by: String,
    #[command(flatten)]
    server: Server,
}

/// Who is to be seen in a cell.
fn parse_cell(text: &str) -> Result<CellSubject, String> {
    let (cell, who) = text.split_once('=').ok_or_else(|| format!("'{text}' must be such as 0=@speaker"))?;
    let cell = cell.parse().map_err(|_| format!("'{cell}' in '{text}' is no number of a cell"))?;
    if let Some(turns) = who.strip_prefix("@turns") {
        return turns_of(cell, turns).ok_or_else(|| format!("'{who}' must be such as @turns:alice,bob/5"));
    }
    let shows = match who {
        "@speaker" => CellShows::Speaker,
        "@previous" => CellShows::PreviousSpeaker,
        "@nobody" => CellShows::Nobody,
        "@content" => CellShows::Content,
        _ if who.starts_with('@') || who.is_empty() => {
            return Err(format!(
                "'{who}' must be a participant, @speaker, @previous, @turns, @content or @nobody"
            ));
        }
        _ => CellShows::Participant,
    };
    let participant = if shows == CellShows::Participant { who.to_owned() } else { String::new() };
    Ok(CellSubject { cell, shows: shows.into(), participant, ..CellSubject::default() })
}

/// What follows "@turns": ":WHO,WHO" and "/SECONDS", each or none of them.
fn turns_of(cell: u32, text: &str) -> Option<CellSubject> {
    let (who, seconds) = text.split_once('/').unwrap_or((text, "0"));
    let named = match who.strip_prefix(':') {
        Some(names) => names.split(',').map(str::to_owned).collect(),
        None if who.is_empty() => Vec::new(),
        None => return None,
    };
    let interval_seconds = seconds.parse().ok()?;
    let shows = CellShows::Sequence.into();
    named.iter().all(|name: &String| !name.is_empty()).then(|| CellSubject {
        cell,
        shows,
        participants: named,
        interval_seconds,
        ..CellSubject::default()
    })
}

/// What was asked for, and all else as it is. Who is relayed gets a canvas.
pub(crate) async fn layout(options: Layout) -> Result<ExitCode> {
    if options.changes_nothing() {
        let why = "a LAYOUT is needed, or what else is to be changed; see --help";
        return Err(Usage(why.to_owned()).into());
    }
    match options.participant.clone() {
        Some(participant) => of_one(options, participant).await,
        None => {
            let (server, conference) = (options.server.clone(), options.conference.clone());
            let by = options.by.clone();
            change(server, (conference, by), |video| composed(options.applied(canvas_of(video.as_ref()))))
                .await
        }
    }
}

async fn of_one(options: Layout, participant: String) -> Result<ExitCode> {
    let (control, mut client) = options.server.conferences().await?;
    let get = GetRequest { conference: options.conference.clone() };
    let info = control.answer(client.get(get)).await?;
    let known = info.participants.iter().find(|known| known.id == participant);
    let known =
        known.with_context(|| format!("--for: '{participant}' is not in conference {}", info.number))?;
    let before = known.video.clone().and_then(|video| video.view).unwrap_or_default();
    let set = SetParticipantVideoRequest {
        conference: options.conference.clone(),
        participant,
        view: Some(options.viewed(before)),
        by: options.by.clone(),
        ..Default::default()
    };
    let info = control.answer(client.set_participant_video(set)).await?;
    done(options.server.json, show::participant(&info), || format!("{}: {}\n", info.id, view_of(&info)))
}

impl Layout {
    fn changes_nothing(&self) -> bool {
        self.layout.is_none()
            && self.cells.is_empty()
            && self.pin.is_none()
            && !self.no_pin
            && !self.reset
            && self.hide_self.is_none()
            && self.for_all.is_none()
    }

    /// Who is pinned from now on.
    fn pinned(&self, before: String) -> String {
        if self.no_pin { String::new() } else { self.pin.clone().unwrap_or(before) }
    }

    /// Cells belong to a layout: another one begins without.
    fn cells(&self, before: Vec<CellSubject>) -> Vec<CellSubject> {
        if self.layout.is_some() || !self.cells.is_empty() { self.cells.clone() } else { before }
    }

    /// What all see.
    fn applied(&self, before: CanvasSettings) -> CanvasSettings {
        CanvasSettings {
            layout: self.layout.clone().unwrap_or(before.layout),
            cells: self.cells(before.cells),
            pinned: self.pinned(before.pinned),
            hide_self: self.hide_self.unwrap_or(before.hide_self),
            for_all: self.for_all.unwrap_or(before.for_all),
            ..before
        }
    }

    /// What one sees.
    fn viewed(&self, before: CanvasView) -> CanvasView {
        if self.reset {
            return CanvasView::default();
        }
        CanvasView {
            layout: self.layout.clone().unwrap_or(before.layout),
            cells: self.cells(before.cells),
            pinned: self.pinned(before.pinned),
            hide_self: self.hide_self.or(before.hide_self),
        }
    }
}

/// What a participant sees of a canvas, in words.
pub(crate) fn view_of(info: &ParticipantInfo) -> String {
    let Some(view) = info.video.as_ref().and_then(|video| video.view.as_ref()) else {
        return "sees what all see".to_owned();
    };
    let mut words = Vec::new();
    words.extend((!view.layout.is_empty()).then(|| format!("layout={}", view.layout)));
    words.extend((!view.cells.is_empty()).then(|| format!("{} cells chosen", view.cells.len())));
    words.extend((!view.pinned.is_empty()).then(|| format!("pin={}", view.pinned)));
    words.extend(view.hide_self.map(|hides| format!("hide-self={hides}")));
    format!("sees {}", words.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        layout: Layout,
    }

    fn read(words: &str) -> Result<Layout, clap::Error> {
        Line::try_parse_from(std::iter::once("layout").chain(words.split(' '))).map(|line| line.layout)
    }

    #[test]
    fn cells_are_read() {
        let cell = parse_cell("3=alice").expect("a cell");
        assert_eq!(
            (cell.cell, cell.shows(), cell.participant.as_str()),
            (3, CellShows::Participant, "alice")
        );
        assert_eq!(parse_cell("0=@speaker").expect("a cell").shows(), CellShows::Speaker);
        let turns = parse_cell("2=@turns:alice,bob/5").expect("a cell");
        assert_eq!((turns.shows(), turns.interval_seconds), (CellShows::Sequence, 5));
        assert_eq!(turns.participants, ["alice", "bob"]);
        assert_eq!(parse_cell("2=@turns").expect("a cell").participants.len(), 0);
        for text in ["0", "a=b", "0=", "0=@nowhere", "0=@turnsx", "0=@turns:", "0=@turns/x"] {
            assert!(parse_cell(text).is_err(), "{text}");
        }
    }

    #[test]
    fn only_what_is_given_is_changed() {
        let before = CanvasSettings {
            layout: "1+5".into(),
            pinned: "bob".into(),
            cells: vec![parse_cell("1=alice").expect("a cell")],
            names: true,
            ..CanvasSettings::default()
        };
        let after = read("700 --for-all --no-pin").expect("read").applied(before.clone());
        assert_eq!(after, CanvasSettings { for_all: true, pinned: String::new(), ..before.clone() });
        let after = read("700 pip --hide-self").expect("read").applied(before.clone());
        let layout = "pip".to_owned();
        assert_eq!(after, CanvasSettings { layout, cells: Vec::new(), hide_self: true, ..before });
        assert!(read("700").expect("read").changes_nothing());
    }

    #[test]
    fn one_participant_has_a_view_of_its_own_until_it_is_reset() {
        let one = read("700 pip --for bob --pin erin --hide-self=false").expect("read");
        let view = one.viewed(CanvasView::default());
        let (layout, pinned) = ("pip".to_owned(), "erin".to_owned());
        assert_eq!(view, CanvasView { layout, pinned, cells: Vec::new(), hide_self: Some(false) });
        let kept = read("700 --for bob --cell 1=@nobody").expect("read").viewed(view.clone());
        assert_eq!((kept.pinned.as_str(), kept.cells.len()), ("erin", 1));
        let reset = read("700 --for bob --reset").expect("read").viewed(view);
        assert_eq!(reset, CanvasView::default());
        for words in ["700 --reset", "700 --for bob --for-all", "700 pip --for bob --reset"] {
            assert!(read(words).is_err(), "{words}");
        }
    }
}
