//! Frames and descriptors over a Unix socket: a length, that many bytes, and descriptors with the length.

use super::{decode, encode};
use rustix::fd::{BorrowedFd, OwnedFd};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};
use serde::{Deserialize, Serialize};
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// Descriptors of one message: SCM_MAX_FD of the kernel (unix(7)).
pub(crate) const DESCRIPTORS_MAX: usize = 253;
/// A frame is shorter: a hundred thousand routes fit.
const FRAME_BYTES_MAX: usize = 1 << 30;

/// One side's end.
#[derive(Debug)]
pub(crate) struct Channel {
    stream: UnixStream,
}

impl Channel {
    pub(crate) fn new(stream: UnixStream) -> Channel {
        Channel { stream }
    }

    /// How long the other side may take for the next word, or to take one.
    pub(crate) fn set_patience(&self, patience: Duration) -> io::Result<()> {
        self.stream.set_read_timeout(Some(patience))?;
        self.stream.set_write_timeout(Some(patience))
    }

    /// Says something, and gives descriptors with it.
    pub(crate) fn say<T: Serialize>(&mut self, what: &T, given: &[BorrowedFd<'_>]) -> Result<(), String> {
        self.send(&encode(what)?, given)
    }

    /// Sends bytes as they are.
    pub(crate) fn send(&mut self, bytes: &[u8], given: &[BorrowedFd<'_>]) -> Result<(), String> {
        self.send_frame(bytes, given).map_err(|error| broken("cannot say a word to it", &error))
    }

    fn send_frame(&mut self, bytes: &[u8], given: &[BorrowedFd<'_>]) -> io::Result<()> {
        let length = u32::try_from(bytes.len()).map_err(|_| io::ErrorKind::InvalidInput)?.to_le_bytes();
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !given.is_empty() && !control.push(SendAncillaryMessage::ScmRights(given)) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "too many descriptors at once"));
        }
        let sent = loop {
            match sendmsg(&self.stream, &[IoSlice::new(&length)], &mut control, SendFlags::NOSIGNAL) {
                Err(rustix::io::Errno::INTR) => {}
                other => break other?,
            }
        };
        // The descriptors went with the first byte.
        self.stream.write_all(&length[sent..])?;
        self.stream.write_all(bytes)
    }

    /// Hears what the other side says. `name` is what it should be, for the message of an error.
    pub(crate) fn hear<T: for<'a> Deserialize<'a>>(
        &mut self,
        name: &str,
    ) -> Result<(T, Vec<OwnedFd>), String> {
        let (bytes, given) = self.receive()?;
        Ok((decode(name, &bytes)?, given))
    }

    /// Receives bytes as they are.
    pub(crate) fn receive(&mut self) -> Result<(Vec<u8>, Vec<OwnedFd>), String> {
        self.receive_frame().map_err(|error| broken("it said nothing more", &error))
    }

    fn receive_frame(&mut self) -> io::Result<(Vec<u8>, Vec<OwnedFd>)> {
        let mut given = Vec::new();
        let mut length = [0; 4];
        let mut filled = 0;
        while filled < length.len() {
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
            let mut control = RecvAncillaryBuffer::new(&mut space);
            let mut into = [IoSliceMut::new(&mut length[filled..])];
            let received = match recvmsg(&self.stream, &mut into, &mut control, RecvFlags::CMSG_CLOEXEC) {
                Err(rustix::io::Errno::INTR) => continue,
                other => other?,
            };
            if received.bytes == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            filled += received.bytes;
            for message in control.drain() {
                if let RecvAncillaryMessage::ScmRights(descriptors) = message {
                    given.extend(descriptors);
                }
            }
        }
        let length = u32::from_le_bytes(length) as usize;
        if length > FRAME_BYTES_MAX {
            return Err(io::Error::new(io::ErrorKind::InvalidData, format!("a frame of {length} bytes")));
        }
        let mut bytes = Vec::new();
        (&self.stream).take(length as u64).read_to_end(&mut bytes)?;
        if bytes.len() < length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok((bytes, given))
    }

    /// Waits until the other side is gone, whatever it says before.
    pub(crate) fn wait_for_end(&mut self) {
        let _ = self.stream.set_read_timeout(None);
        let mut rest = [0; 4096];
        while !matches!(self.stream.read(&mut rest), Ok(0) | Err(_)) {}
    }

    /// The process at the other end, as the kernel knows it.
    pub(crate) fn peer(&self) -> io::Result<rustix::net::UCred> {
        Ok(rustix::net::sockopt::socket_peercred(&self.stream)?)
    }
}

fn broken(what: &str, error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => format!("{what} in time"),
        io::ErrorKind::UnexpectedEof | io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => {
            format!("{what}: it is gone")
        }
        _ => format!("{what}: {error}"),
    }
}
