//! Writes what the fuzz targets of pictures begin with, made by our own encoders:
//! `cargo run -p motet-mixer --example picture_seeds -- fuzz/corpus`.

use motet_codecs::testing::video_seeds;
use motet_codecs::video::VideoCodecName::{H264, H265, Vp8};
use motet_mixer::testing::canvas_seeds;
use std::path::PathBuf;

fn main() -> std::io::Result<()> {
    let folder = PathBuf::from(std::env::args_os().nth(1).expect("an argument: the folder of the corpora"));
    let targets = [
        ("video_h264", video_seeds(H264)),
        ("video_h265", video_seeds(H265)),
        ("video_vp8", video_seeds(Vp8)),
        ("canvas", canvas_seeds()),
    ];
    for (target, seeds) in targets {
        let folder = folder.join(target);
        std::fs::create_dir_all(&folder)?;
        for (number, seed) in (1..).zip(seeds) {
            std::fs::write(folder.join(format!("encoded_{number}")), seed)?;
        }
    }
    Ok(())
}
