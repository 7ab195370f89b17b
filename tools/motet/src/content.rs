//! `motet conf content`: who may share content, and who does.

use crate::client::{Server, Usage};
use crate::conf::done;
use crate::show;
use anyhow::Result;
use clap::{Args, ValueEnum};
use motet_proto::conference::*;
use motet_proto::media::ContentFloor;
use std::process::ExitCode;

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum What {
    /// Everybody may share content, all at once
    Open,
    /// One at a time: who asks first, and then whoever takes it
    Free,
    /// One at a time, whom a chair lets
    Moderated,
    /// The participant wants to share content
    Request,
    /// The participant may
    Grant,
    /// The participant may not
    Deny,
    /// The participant, or whoever it is, may no more
    Revoke,
    /// The participant shares from now on, whoever does now
    Take,
    /// The participant gives the floor back, or waits no more
    Release,
}

#[derive(Args)]
pub(crate) struct Content {
    /// Id or number
    conference: String,
    /// A rule, or something that a participant wants or is told
    #[arg(value_enum)]
    what: What,
    /// Id of the participant
    #[arg(default_value = "")]
    participant: String,
    /// Ask as this participant: the one itself (request, release, take), or a chair [default: as the application]
    #[arg(long, value_name = "PARTICIPANT", default_value = "")]
    by: String,
    #[command(flatten)]
    server: Server,
}

impl What {
    fn to_wire(self) -> (ContentAction, ContentFloor) {
        let none = ContentFloor::Unspecified;
        match self {
            What::Open => (ContentAction::Floor, ContentFloor::Open),
            What::Free => (ContentAction::Floor, ContentFloor::Free),
            What::Moderated => (ContentAction::Floor, ContentFloor::Moderated),
            What::Request => (ContentAction::Request, none),
            What::Grant => (ContentAction::Grant, none),
            What::Deny => (ContentAction::Deny, none),
            What::Revoke => (ContentAction::Revoke, none),
            What::Take => (ContentAction::Take, none),
            What::Release => (ContentAction::Release, none),
        }
    }
}

pub(crate) async fn content(options: Content) -> Result<ExitCode> {
    let Content { conference, what, participant, by, server } = options;
    let (action, floor) = what.to_wire();
    let named = !matches!(action, ContentAction::Floor | ContentAction::Revoke);
    if named && participant.is_empty() {
        return Err(Usage("PARTICIPANT is needed: whom this is about".to_owned()).into());
    }
    let (control, mut client) = server.conferences().await?;
    let ask = ShareContentRequest {
        conference,
        action: action.into(),
        participant,
        by,
        floor: floor.into(),
        ..Default::default()
    };
    let info = control.answer(client.share_content(ask)).await?;
    done(server.json, show::conference(&info), || {
        format!("conference {}: {}\n", info.number, state_of(&info))
    })
}

/// Who shares content, and who waits to, in words.
pub(crate) fn state_of(info: &ConferenceInfo) -> String {
    let Some(content) = &info.content else { return "everybody may share content".to_owned() };
    let rule = if content.floor() == ContentFloor::Free { "free" } else { "moderated" };
    let who = if content.holder.is_empty() { "nobody" } else { &content.holder };
    let waiting = if content.waiting.is_empty() {
        String::new()
    } else {
        format!(", waiting: {}", content.waiting.join(", "))
    };
    format!("{who} shares content ({rule} floor){waiting}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_floor_is_said_in_words() {
        let mut info = ConferenceInfo::default();
        assert_eq!(state_of(&info), "everybody may share content");
        let content = ContentState { holder: "alice".into(), waiting: vec!["bob".into()], floor: 2 };
        info.content = Some(content);
        assert_eq!(state_of(&info), "alice shares content (free floor), waiting: bob");
    }
}
