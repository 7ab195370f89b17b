//! One picture, decoded in a process of its own that ends with it: of a snapshot, a participant's key frame.

use super::frame::{Came, Kind, put_picture, put_word};
use super::link::{spawn, told};
use super::word::{Errand, Word};
use motet_codecs::video::{Frame, VideoCodec};
use std::io::{BufReader, Write};
use std::os::unix::net::UnixStream;
use std::process::{Child, Stdio};
use std::time::Duration;

/// The largest picture is decoded within a fraction of this on the slowest machine.
const TIME_MAX: Duration = Duration::from_secs(5);

/// A process that is ended with this.
struct Decoder(Child);

impl Drop for Decoder {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Decodes an access unit that holds a key frame. Blocks for as long as that takes, at most some seconds.
///
/// Errors say why there is no picture.
pub(crate) fn decode_apart(codec: VideoCodec, unit: Vec<u8>) -> Result<Frame, String> {
    let failed = |error: std::io::Error| format!("no process can be started to decode it: {error}");
    let (mut socket, other) = UnixStream::pair().map_err(failed)?;
    socket.set_read_timeout(Some(TIME_MAX)).map_err(failed)?;
    socket.set_write_timeout(Some(TIME_MAX)).map_err(failed)?;
    let mut decoder = Decoder(spawn(other, Stdio::null()).map_err(failed)?);
    let mut frame = Vec::new();
    put_word(&mut frame, &Errand::Decode { codec, unit })?;
    let came = socket.write_all(&frame).and_then(|()| Came::read(&mut BufReader::new(&socket)));
    let Ok(came) = came else {
        // It has ended, or is to: too long is as bad.
        let _ = decoder.0.kill();
        let how = decoder.0.wait().map_or_else(|error| error.to_string(), told);
        return Err(format!("the process that decodes it: {how}"));
    };
    match came.kind {
        Kind::Picture => came.picture().map(|(_, frame)| frame).ok_or_else(|| "it is no picture".to_owned()),
        _ => Err(match came.word()? {
            Word::Undecoded(why) => why,
            _ => "the process that decodes it speaks of something else".to_owned(),
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
        put_word(&mut frame, &Word::Undecoded(why)).expect("words can be written");
    }
    // A node that does not wait any more ends this.
    let _ = node.write_all(&frame);
}
