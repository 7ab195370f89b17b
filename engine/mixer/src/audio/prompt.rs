//! Announcements: sound from files, and its way into mixes.
//!
//! Loading reads and converts a whole file: it is the caller's work, outside of the mixing thread.

mod file;
mod play;

pub use file::{PROMPT_SECONDS_MAX, PromptError, PromptSound, load_wav};
pub(crate) use play::{Playing, Target};
