//! What single participants see of a canvas, and how they are seen on it.

use super::audio::AudioChange;
use super::media::check_identifier;
use super::model::{Record, RequestId};
use super::requests::Response;
use super::step::Step;
use super::video::Cell;
use crate::refusal::Refusal;
use motet_proto::{conference as wire, media};
use serde::{Deserialize, Serialize};
use tonic::Code;

/// What becomes of a participant's pictures; see `media.proto`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ParticipantVideo {
    /// What it sees in another way than all others do.
    pub view: View,
}

/// What a participant sees of a canvas; what is empty is as for all others.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct View {
    /// In words.
    pub layout: String,
    /// Who is to be seen in cells.
    pub cells: Vec<Cell>,
    /// Who is seen in the first cell, whoever speaks.
    pub pinned: String,
    /// It does not see its own picture.
    pub hide_self: Option<bool>,
}

impl View {
    /// Errors name the field, after `path`.
    fn check(path: &str, given: &media::CanvasView) -> Result<View, Refusal> {
        let media::CanvasView { layout, cells, pinned, hide_self } = given.clone();
        super::video::check_layout(&format!("{path}.layout"), &layout)?;
        let cells = Cell::check(path, cells)?;
        if !pinned.is_empty() {
            check_identifier(&format!("{path}.pinned"), &pinned)?;
        }
        Ok(View { layout, cells, pinned, hide_self })
    }

    fn to_wire(&self) -> media::CanvasView {
        let View { layout, cells, pinned, hide_self } = self.clone();
        let cells = cells.into_iter().map(Cell::into_wire).collect();
        media::CanvasView { layout, cells, pinned, hide_self }
    }

    /// For people: what `who` sees.
    fn told(&self, who: &str, number: &str) -> String {
        if *self == View::default() {
            return format!("{who} sees the pictures of conference {number} as all others do");
        }
        let mut words = Vec::new();
        words.extend((!self.layout.is_empty()).then(|| format!("as {}", self.layout)));
        words.extend((!self.cells.is_empty()).then(|| "with cells of its own".to_owned()));
        words.extend((!self.pinned.is_empty()).then(|| format!("with {} in the first cell", self.pinned)));
        words.extend(
            self.hide_self.map(|hides| if hides { "without itself" } else { "with itself" }.to_owned()),
        );
        format!("{who} sees the pictures of conference {number} {}", words.join(", "))
    }
}

impl ParticipantVideo {
    /// Errors name the field, beginning with `video`.
    pub(super) fn check(given: Option<&media::ParticipantVideo>) -> Result<ParticipantVideo, Refusal> {
        let view = given.and_then(|given| given.view.as_ref());
        let view = view.map(|view| View::check("video.view", view)).transpose()?.unwrap_or_default();
        Ok(ParticipantVideo { view })
    }

    /// As applications and nodes see it; none: as usual.
    pub(super) fn to_wire(&self) -> Option<media::ParticipantVideo> {
        let view = (self.view != View::default()).then(|| self.view.to_wire());
        (*self != ParticipantVideo::default()).then_some(media::ParticipantVideo { view })
    }
}

impl Step<'_> {
    /// Another view for a participant.
    pub(super) fn set_participant_video(
        &mut self,
        request: RequestId,
        moid: &str,
        set: wire::SetParticipantVideoRequest,
    ) -> Result<Option<Response>, Refusal> {
        let mut next = self.changeable(moid)?.record.clone();
        let Record { participants, number, .. } = &mut next;
        let Some(participant) = participants.get_mut(&set.participant) else {
            let why = format!("'{}' is not in conference {number}", set.participant);
            return Err(Refusal::at(Code::NotFound, "participant", why));
        };
        let video = &mut participant.video;
        if let Some(view) = &set.view {
            video.view = View::check("view", view)?;
        }
        let told = video.view.told(&set.participant, number);
        self.change_audio(request, moid, next, AudioChange::View(set.participant, told))
    }
}
