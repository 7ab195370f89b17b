//! Snapshots: the picture of a participant, or the composed one, as PNG.
//!
//! Like canvases, a participant's picture is decoded in another process, unless `--canvas-in-node`.

use crate::canvas::decode_apart;
use crate::error::NodeError;
use crate::recording::Still;
use crate::run::Shared;
use motet_codecs::video::{Frame, Picture};
use motet_proto::node as wire;
use std::time::Duration;

/// How long a whole picture of a participant is waited for.
const WAIT: Duration = Duration::from_secs(4);
/// Lines from which on colours are those of high definition (ITU-R BT.709), as players take it; else BT.601.
const HIGH_DEFINITION_LINES: usize = 720;

/// What was taken.
enum Taken {
    Frame(Frame),
    Still(Still),
}

/// Takes one.
pub(crate) async fn take(
    shared: &Shared,
    request: wire::SnapshotRequest,
) -> Result<wire::SnapshotResponse, NodeError> {
    let wire::SnapshotRequest { conference, epoch, leg } = request;
    let taken = if leg.is_empty() {
        Taken::Frame(shared.state.lock().await.canvas_picture(&conference, epoch).await?)
    } else {
        let (key, still) = shared.state.lock().await.begin_still(&conference, epoch, &leg).await?;
        let still = tokio::time::timeout(WAIT, still).await;
        shared.state.lock().await.end_still(&conference, &key).await?;
        let missing = || {
            let why = format!("no whole picture of '{leg}' came within {} s", WAIT.as_secs());
            NodeError::invalid("leg", why)
        };
        Taken::Still(still.ok().and_then(Result::ok).ok_or_else(missing)?)
    };
    let apart = shared.decodes_apart;
    // It takes a while: other work goes on.
    let made = tokio::task::spawn_blocking(move || match taken {
        Taken::Frame(frame) => png(&frame.picture()),
        Taken::Still(Still { codec, unit }) if apart => {
            decode_apart(codec, unit).and_then(|frame| png(&frame.picture()))
        }
        Taken::Still(still) => decode(&still),
    });
    let made = made.await.map_err(|error| error.to_string()).and_then(|made| made);
    made.map_err(|why| NodeError::invalid("leg", format!("the picture cannot be shown: {why}")))
}

fn decode(still: &Still) -> Result<wire::SnapshotResponse, String> {
    let mut decoder = still.codec.decoder().map_err(|error| error.to_string())?;
    match decoder.decode(&still.unit) {
        Ok(Some(decoded)) => png(&decoded.picture),
        Ok(None) => Err("its key frame holds no picture".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

fn png(picture: &Picture<'_>) -> Result<wire::SnapshotResponse, String> {
    let (width, height) = (picture.size().width, picture.size().height);
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, width, height);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_compression(png::Compression::Fast);
    let written = encoder.write_header().and_then(|mut writer| {
        writer.write_image_data(&rgb(picture))?;
        writer.finish()
    });
    written.map_err(|error| error.to_string())?;
    Ok(wire::SnapshotResponse { png: bytes, width, height })
}

/// Red, green and blue of each pixel, of a picture of limited range.
fn rgb(picture: &Picture<'_>) -> Vec<u8> {
    let [y, u, v] = picture.planes();
    // By how much red, green (twice) and blue differ from the brightness.
    let (red_v, green_u, green_v, blue_u) = match y.height() {
        HIGH_DEFINITION_LINES.. => (1.793, 0.213, 0.533, 2.112),
        _ => (1.596, 0.392, 0.813, 2.017),
    };
    let mut all = Vec::with_capacity(3 * y.width() * y.height());
    for (line, luma) in y.lines().enumerate() {
        let (u, v) = (u.line(line / 2), v.line(line / 2));
        for (column, luma) in luma.iter().enumerate() {
            let luma = 1.164 * (f32::from(*luma) - 16.0);
            let (u, v) = (f32::from(u[column / 2]) - 128.0, f32::from(v[column / 2]) - 128.0);
            let colours = [luma + red_v * v, luma - green_u * u - green_v * v, luma + blue_u * u];
            // Beyond the range is the end of the range.
            all.extend(colours.map(|colour| colour.round() as u8));
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use motet_codecs::video::{FramePool, PictureSize};

    fn decoded(bytes: &[u8]) -> (u32, u32, Vec<u8>) {
        let mut reader = png::Decoder::new(std::io::Cursor::new(bytes)).read_info().expect("a PNG");
        let mut pixels = vec![0; reader.output_buffer_size().expect("it fits")];
        let info = reader.next_frame(&mut pixels).expect("pixels");
        (info.width, info.height, pixels)
    }

    #[test]
    fn colours_are_those_of_the_picture() {
        // Odd sides, since colours have half of them.
        let mut frame = FramePool::new(1).take(PictureSize::new(7, 5));
        for (colour, expected) in [
            ([235, 128, 128], [255, 255, 255]),
            ([16, 128, 128], [0, 0, 0]),
            ([81, 90, 240], [254, 0, 0]),
            ([145, 54, 34], [0, 255, 1]),
            ([41, 240, 110], [0, 0, 255]),
        ] {
            frame.fill(colour);
            let snapshot = png(&frame.picture()).expect("it is made");
            let (width, height, pixels) = decoded(&snapshot.png);
            assert_eq!((width, height, snapshot.width, snapshot.height), (7, 5, 7, 5));
            for pixel in pixels.chunks_exact(3) {
                let near = pixel.iter().zip(expected).all(|(found, wanted)| found.abs_diff(wanted) <= 3);
                assert!(near, "{pixel:?} {expected:?}");
            }
        }
    }
}
