//! Who takes part, and by what each is known: a tone, a moving picture with a name, a coloured frame.

/// Pixels.
pub const WIDTH: usize = 320;
/// Pixels.
pub const HEIGHT: usize = 240;
/// Pictures per second.
pub const RATE: usize = 15;
/// Width of the coloured frame in pixels.
pub const FRAME: usize = 14;

/// One participant.
pub struct Person {
    /// Participant id, and the name in the picture.
    pub name: &'static str,
    /// Frequency of the tone.
    pub tone_hz: u32,
    /// Red, green, blue of the frame around the picture.
    pub colour: [u8; 3],
    /// ffmpeg's filter that makes the picture.
    picture: &'static str,
}

/// Tones that are no multiples of each other, and colours that survive H.264's reduced colour planes.
pub const CAST: [Person; 3] = [
    Person {
        name: "alice",
        tone_hz: 440,
        colour: [0xe0, 0x3c, 0x3c],
        picture: "testsrc2=size=320x240:rate=15",
    },
    Person {
        name: "bob",
        tone_hz: 660,
        colour: [0x30, 0xa0, 0x40],
        picture: "mandelbrot=size=320x240:rate=15:end_scale=0.01:end_pts=600",
    },
    Person {
        name: "carol",
        tone_hz: 1000,
        colour: [0x30, 0x60, 0xe0],
        picture: "life=size=80x60:rate=15:mold=10:ratio=0.25:random_seed=7:death_color=0x402060:\
                  life_color=0xffe080:mold_color=0x8030a0,scale=320:240:flags=neighbor",
    },
];

impl Person {
    /// The whole filter: picture, frame and name.
    pub fn filter(&self) -> String {
        let [red, green, blue] = self.colour;
        format!(
            "{},drawbox=t={FRAME}:color=0x{red:02x}{green:02x}{blue:02x},\
             drawtext=text={}:font=Sans:fontsize=46:fontcolor=white:box=1:boxcolor=black@0.6:boxborderw=8:\
             x=(w-tw)/2:y=h-th-34",
            self.picture, self.name
        )
    }
}
