//! What the node and a process for canvases say to each other, besides parcels and pictures.

use crate::canvas::{CanvasSnapshot, SceneStatus};
use crate::mixing::MixingEvent;
use crate::model::Id;
use crate::plan::CanvasForm;
use motet_codecs::video::VideoCodec;
use motet_mixer::video::Still;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// What a process is started for; the node says it first.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Errand {
    /// To compose for a canvas thread.
    Compose(Hello),
    /// To decode one access unit, and no more (`apart.rs`).
    Decode { codec: VideoCodec, unit: Vec<u8> },
    /// To read a file that is played (`film.rs`).
    Read { path: PathBuf },
}

/// What is asked of a process that reads a file.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Request {
    Read,
    Seek(Duration),
}

/// What a process says that does not compose. A picture comes as a frame of its own, with its place in nanoseconds.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Reply {
    /// The file is open.
    Opened(Held),
    Sought,
    Sound {
        at: Duration,
        rate_hz: u32,
        samples: Vec<i16>,
    },
    /// All of the file was read.
    End,
    /// Why it cannot be done.
    Failed(String),
}

/// What a file holds.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct Held {
    pub(super) pictures: bool,
    pub(super) sound: bool,
    pub(super) duration: Option<Duration>,
}

/// A canvas thread.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Hello {
    /// Its place in the exchange, and how many there are.
    pub(super) station: usize,
    pub(super) stations: usize,
    /// Its number among canvas threads.
    pub(super) index: usize,
    pub(super) core: Option<usize>,
    /// The wall clock at the origin of the monotonic one, as the node has it.
    pub(super) ntp_origin: u64,
    /// For names.
    pub(super) font: Option<PathBuf>,
}

/// What the node asks for. Whatever has a ticket is answered.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Order {
    Put {
        ticket: u64,
        id: Id,
        form: Option<Box<FormOnWire>>,
    },
    Speaker(Id, Option<Id>),
    Talks(Id, Id, bool),
    Look {
        ticket: u64,
        id: Id,
    },
    Picture {
        ticket: u64,
        id: Id,
    },
    /// Nobody shows this still any more.
    Forget(u64),
}

/// What the process says.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Word {
    /// It runs, or cannot.
    Started(Result<(), String>),
    Put(u64, Result<(), String>),
    Look(u64, Option<SceneStatus>),
    /// There is no picture to show. One that there is comes as a frame of its own.
    NoPicture(u64),
    Event(MixingEvent),
    Shown(Box<CanvasSnapshot>),
}

/// A form, with numbers of stills instead of them. Each still comes before the first form that names it.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct FormOnWire {
    form: CanvasForm,
    still: Option<u64>,
    /// By leg.
    looks: BTreeMap<Id, u64>,
}

impl FormOnWire {
    pub(super) fn new(form: CanvasForm) -> FormOnWire {
        let still = form.still.as_ref().map(|still| still.number());
        let look = |leg: &Id, still: &Arc<Still>| (leg.clone(), still.number());
        let sources = form.sources.iter();
        let looks = sources.filter_map(|(leg, source)| Some(look(leg, source.look.still.as_ref()?)));
        FormOnWire { still, looks: looks.collect(), form }
    }

    /// The stills of a form, some of them more than once.
    pub(super) fn stills(form: &CanvasForm) -> impl Iterator<Item = &Arc<Still>> {
        let looks = form.sources.values().filter_map(|source| source.look.still.as_ref());
        form.still.iter().chain(looks)
    }

    /// The form, with the stills that came.
    pub(super) fn form(self, stills: &BTreeMap<u64, Arc<Still>>) -> CanvasForm {
        let FormOnWire { mut form, still, looks } = self;
        form.still = still.and_then(|number| stills.get(&number)).cloned();
        for (leg, number) in looks {
            if let Some(source) = form.sources.get_mut(&leg) {
                source.look.still = stills.get(&number).cloned();
            }
        }
        form
    }
}
