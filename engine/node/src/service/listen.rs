//! Sound of a mix as a stream of messages.

use crate::mixing::Tap;
use motet_proto::node as wire;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio_stream::Stream;
use tonic::Status;

/// What the mixing thread hands over, for one caller.
pub(super) struct Sound(pub(super) Tap);

impl Stream for Sound {
    type Item = Result<wire::SoundFrame, Status>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_next(context).map(|frame| {
            let frame = frame?;
            let samples = frame.samples.iter().flat_map(|sample| sample.to_le_bytes()).collect();
            let (number, rate_hz) = (frame.number, frame.rate_hz);
            self.0.give_back(frame);
            Some(Ok(wire::SoundFrame { number, rate_hz, samples }))
        })
    }
}

impl Drop for Sound {
    fn drop(&mut self) {
        tracing::debug!(dropped = self.0.dropped(), "somebody has listened to a mix");
    }
}
