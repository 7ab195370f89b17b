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
    /// Its picture is not seen.
    pub off: bool,
    /// File of what is seen instead of its picture.
    pub still: String,
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
        let Some(given) = given else { return Ok(ParticipantVideo::default()) };
        let view = given.view.as_ref().map(|view| View::check("video.view", view));
        let view = view.transpose()?.unwrap_or_default();
        super::video::check_still("video.still", &given.still)?;
        Ok(ParticipantVideo { view, off: given.off, still: given.still.clone() })
    }

    /// As applications and nodes see it; none: as usual.
    pub(super) fn to_wire(&self) -> Option<media::ParticipantVideo> {
        let view = (self.view != View::default()).then(|| self.view.to_wire());
        (*self != ParticipantVideo::default()).then(|| media::ParticipantVideo {
            view,
            off: self.off,
            still: self.still.clone(),
        })
    }

    /// For people: what has changed of `who`.
    fn told(&self, before: &ParticipantVideo, who: &str, number: &str) -> String {
        if self.view != before.view {
            return self.view.told(who, number);
        }
        match (self.off, self.still.as_str()) {
            (true, _) => format!("the picture of {who} in conference {number} is off"),
            (false, "") => format!("the picture of {who} in conference {number} is seen"),
            (false, still) => format!("{who} of conference {number} has the still {still}"),
        }
    }
}

impl Step<'_> {
    /// Another view for a participant, or another look of it.
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
        let before = participant.video.clone();
        let video = &mut participant.video;
        if let Some(view) = &set.view {
            video.view = View::check("view", view)?;
        }
        if let Some(still) = &set.still {
            super::video::check_still("still", still)?;
            video.still.clone_from(still);
        }
        video.off = set.off.unwrap_or(video.off);
        let told = video.told(&before, &set.participant, number);
        self.change_audio(request, moid, next, AudioChange::View(set.participant, told))
    }
}
