//! Processes with one thing to do, each of which ends with it: to decode one picture, or to read a file (`film.rs`).

use super::frame::{Came, Kind, put_picture, put_word};
use super::link::{spawn, told};
use super::word::{Errand, Reply};
use motet_codecs::video::{Frame, VideoCodec};
use serde::Serialize;
use std::io::{BufReader, Write};
use std::os::unix::net::UnixStream;
use std::process::{Child, Stdio};
use std::time::Duration;

/// The largest picture is decoded within a fraction of this on the slowest machine.
const DECODE_MAX: Duration = Duration::from_secs(5);

/// Such a process, as the node has it. Dropped, it ends.
pub(super) struct Apart {
    process: Child,
    socket: BufReader<UnixStream>,
    /// What it does, for people.
    does: &'static str,
    /// Room for a frame.
    frame: Vec<u8>,
}

impl Apart {
    /// Starts it; `does` is what it does, such as "decodes a picture".
    pub(super) fn start(does: &'static str, errand: &Errand) -> Result<Apart, String> {
        let failed = |error: std::io::Error| format!("no process can be started that {does}: {error}");
        let (socket, other) = UnixStream::pair().map_err(failed)?;
        let process = spawn(other, Stdio::null()).map_err(failed)?;
        let mut this = Apart { process, socket: BufReader::new(socket), does, frame: Vec::new() };
        this.say(errand, DECODE_MAX)?;
        Ok(this)
    }

    /// Tells it something, which it takes within this time.
    pub(super) fn say(&mut self, word: &impl Serialize, within: Duration) -> Result<(), String> {
        put_word(&mut self.frame, word)?;
        let mut socket = self.socket.get_ref();
        let said = socket.set_write_timeout(Some(within)).and_then(|()| socket.write_all(&self.frame));
        said.map_err(|_| self.end())
    }

    /// What it says next, within this time.
    pub(super) fn hear(&mut self, within: Duration) -> Result<Came, String> {
        let came = self.socket.get_ref().set_read_timeout(Some(within));
        came.and_then(|()| Came::read(&mut self.socket)).map_err(|_| self.end())
    }

    /// It has ended, or is to: too long is as bad. Says how.
    fn end(&mut self) -> String {
        let ended = self.process.try_wait().ok().flatten();
        let _ = self.process.kill();
        let how = match (ended, self.process.wait()) {
            (Some(status), _) | (None, Ok(status)) => told(status),
            (None, Err(error)) => error.to_string(),
        };
        format!("of the process that {} there is no answer: {how}", self.does)
    }
}

impl Drop for Apart {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Decodes an access unit that holds a key frame. Blocks for as long as that takes, at most some seconds.
///
/// Errors say why there is no picture.
pub(crate) fn decode_apart(codec: VideoCodec, unit: Vec<u8>) -> Result<Frame, String> {
    let mut process = Apart::start("decodes a picture", &Errand::Decode { codec, unit })?;
    let came = process.hear(DECODE_MAX)?;
    match came.kind {
        Kind::Picture => came.picture().map(|(_, frame)| frame).ok_or_else(|| "it is no picture".to_owned()),
        _ => Err(match came.word()? {
            Reply::Failed(why) => why,
            _ => "it is no picture".to_owned(),
        }),
    }
}

/// In the process.
pub(super) fn decode_for(mut node: &UnixStream, codec: &VideoCodec, unit: &[u8]) {
    let mut frame = Vec::new();
    let decoded = codec.decoder().map_err(|error| error.to_string()).and_then(|mut decoder| {
        match decoder.decode(unit) {
            Ok(Some(decoded)) => {
                put_picture(&mut frame, 0, &decoded.picture);
                Ok(())
            }
            Ok(None) => Err("its key frame holds no picture".to_owned()),
            Err(error) => Err(error.to_string()),
        }
    });
    if let Err(why) = decoded {
        put_word(&mut frame, &Reply::Failed(why)).expect("words can be written");
    }
    // A node that does not wait any more ends this.
    let _ = node.write_all(&frame);
}
