//! ffmpeg at both ends: it makes and sends each participant's media, and decodes what others receive.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;

use crate::cast::{Person, RATE};
use crate::composed::TURN_SECONDS;
use crate::hearing::SAMPLE_RATE;
use crate::mixed::Voice;
use crate::ports;
use crate::sight::{PICTURE_BYTES, Seen};

/// Payload types, the same for all participants.
pub const OPUS: u32 = 111;
/// As [`OPUS`], for the picture.
pub const H264: u32 = 96;

/// Says clearly that ffmpeg, or a coder that the demo needs, is missing, before anything is started.
pub async fn check_installed() -> Result<()> {
    let output =
        Command::new("ffmpeg").args(["-hide_banner", "-encoders"]).stdin(Stdio::null()).output().await;
    let output = output.context("cannot start ffmpeg: is it installed? scripts/setup.sh installs it")?;
    let encoders = String::from_utf8_lossy(&output.stdout);
    for encoder in ["libx264", "libopus"] {
        if !encoders.contains(encoder) {
            bail!("this ffmpeg has no {encoder}; Debian's has it: scripts/setup.sh installs it");
        }
    }
    Ok(())
}

/// An ffmpeg that runs until it is told to end.
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Process {
    fn start(name: String, folder: &Path, arguments: &[String], stdout: Stdio) -> Result<Process> {
        let log = folder.join(format!("{name}.log"));
        let errors = File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
        let child = Command::new("ffmpeg")
            .args(["-hide_banner", "-nostats", "-loglevel", "error", "-y"])
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(stdout)
            .stderr(errors)
            .kill_on_drop(true)
            .spawn()
            .context("cannot start ffmpeg")?;
        Ok(Process { name, child, log })
    }

    /// Fails if it has ended by itself.
    pub fn check(&mut self) -> Result<()> {
        if let Some(status) = self.child.try_wait()? {
            let log = std::fs::read_to_string(&self.log).unwrap_or_default();
            bail!("ffmpeg ({}) ended early with {status}: {}", self.name, log.trim());
        }
        Ok(())
    }

    /// Ends it in good order, by force after three seconds, and gives the number of errors in its log.
    pub async fn end(mut self) -> Result<usize> {
        if let Some(mut keys) = self.child.stdin.take() {
            // It may have ended already, and then nobody reads.
            let _ = keys.write_all(b"q\n").await;
            let _ = keys.flush().await;
            if tokio::time::timeout(Duration::from_secs(3), self.child.wait()).await.is_err() {
                self.child.kill().await?;
            }
        }
        let log = std::fs::read_to_string(&self.log)?;
        Ok(log.lines().filter(|line| !line.trim().is_empty()).count())
    }
}

/// Where a participant sends one medium: ports of RTP and RTCP at the node.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// RTP.
    pub rtp: std::net::SocketAddr,
    /// RTCP.
    pub rtcp: std::net::SocketAddr,
}

impl Target {
    fn url(self) -> String {
        format!("rtp://{}?rtcpport={}&pkt_size=1200", self.rtp, self.rtcp.port())
    }
}

/// Sends a participant's tone and picture in real time.
pub fn send(person: &Person, audio: Target, video: Target, folder: &Path) -> Result<Process> {
    let line = format!(
        "-re -f lavfi -i {picture} -re -f lavfi -i sine=frequency={tone}:sample_rate=48000 \
         -map 0:v -c:v libx264 -preset ultrafast -tune zerolatency -profile:v baseline -pix_fmt yuv420p \
         -threads 1 -g {RATE} -b:v 500k -maxrate 500k -bufsize 250k -payload_type {H264} -f rtp {video} \
         -map 1:a -c:a libopus -b:a 32k -ac 2 -payload_type {OPUS} -f rtp {audio}",
        picture = person.filter(),
        tone = person.tone_hz,
        video = video.url(),
        audio = audio.url(),
    );
    Process::start(format!("send-{}", person.name), folder, &words(&line), Stdio::null())
}

/// Sends a participant's tone in real time, with the ups and downs of speech, without which it would be noise to a
/// mixer.
pub fn speak(person: &Person, voice: &Voice, target: Target, folder: &Path) -> Result<Process> {
    let line = format!(
        "-re -f lavfi -i sine=frequency={tone}:sample_rate=48000,tremolo=f=4:d=0.6 {encode} \
         -payload_type {payload_type} -f rtp rtp://{rtp}?rtcpport={rtcp}&pkt_size={bytes}",
        tone = person.tone_hz,
        encode = voice.encode,
        payload_type = voice.payload_type,
        rtp = target.rtp,
        rtcp = target.rtcp.port(),
        bytes = voice.packet_bytes,
    );
    Process::start(format!("speak-{}", person.name), folder, &words(&line), Stdio::null())
}

/// Sends a participant's picture all the time, and its tone in turns with others.
pub fn take_turns(
    person: &Person,
    (turn, of): (usize, usize),
    audio: Target,
    video: Target,
    folder: &Path,
) -> Result<Process> {
    let (turn, seconds) = (turn as u64 * TURN_SECONDS, of as u64 * TURN_SECONDS);
    let line = format!(
        "-re -f lavfi -i {picture} -re -f lavfi -i \
         sine=frequency={tone}:sample_rate=48000,tremolo=f=4:d=0.6,\
         volume=volume='between(mod(t,{seconds}),{turn},{end})':eval=frame \
         -map 0:v -c:v libx264 -preset ultrafast -tune zerolatency -profile:v baseline -pix_fmt yuv420p \
         -threads 1 -g {RATE} -b:v 500k -maxrate 500k -bufsize 250k -payload_type {H264} -f rtp {video} \
         -map 1:a -c:a libopus -b:a 32k -ac 2 -payload_type {OPUS} -f rtp {audio}",
        picture = person.filter(),
        tone = person.tone_hz,
        end = turn + TURN_SECONDS,
        video = video.url(),
        audio = audio.url(),
    );
    Process::start(format!("turns-{}", person.name), folder, &words(&line), Stdio::null())
}

/// Writes the picture of a moment as PNG.
pub async fn still(file: &Path, second: u64, png: &Path) -> Result<()> {
    let arguments = ["-ss", &second.to_string(), "-i"].map(str::to_owned);
    let to = ["-frames:v", "1", "-update", "1"].map(str::to_owned);
    let paths = [file.display().to_string(), png.display().to_string()];
    let [file, png] = paths;
    run([arguments.as_slice(), &[file], &to, &[png]].concat()).await.map(|_| ())
}

/// A picture of each second, RGB, one after another.
pub async fn picture_of_each_second(file: &Path) -> Result<Vec<u8>> {
    let mut arguments = vec!["-i".to_owned(), file.display().to_string()];
    arguments.extend(words("-vf fps=1 -f rawvideo -pix_fmt rgb24 pipe:1"));
    run(arguments).await
}

/// The sound of a file, mono samples of [`SAMPLE_RATE`].
pub async fn sound(file: &Path) -> Result<Vec<i16>> {
    let mut arguments = vec!["-i".to_owned(), file.display().to_string()];
    arguments.extend(words(&format!("-map 0:a -ac 1 -ar {SAMPLE_RATE} -f s16le pipe:1")));
    let bytes = run(arguments).await?;
    Ok(bytes.chunks_exact(2).map(|pair| i16::from_le_bytes([pair[0], pair[1]])).collect())
}

/// Codecs of a file's tracks, as ffprobe names them.
pub async fn codecs(file: &Path) -> Result<Vec<String>> {
    let mut arguments = words("-v error -show_entries stream=codec_name -of csv=p=0");
    arguments.push(file.display().to_string());
    let names = execute("ffprobe", arguments).await?;
    Ok(String::from_utf8_lossy(&names).lines().map(|line| line.trim_end_matches(',').to_owned()).collect())
}

/// Runs ffmpeg to its end, and gives what it writes.
async fn run(arguments: Vec<String>) -> Result<Vec<u8>> {
    execute("ffmpeg", [words("-hide_banner -nostats -loglevel error -y"), arguments].concat()).await
}

async fn execute(tool: &str, arguments: Vec<String>) -> Result<Vec<u8>> {
    let mut command = Command::new(tool);
    let output = command.args(&arguments).stdin(Stdio::null()).kill_on_drop(true).output().await;
    let output = output.with_context(|| format!("cannot start {tool}"))?;
    if !output.status.success() {
        let errors = String::from_utf8_lossy(&output.stderr);
        bail!("{tool} {} ended with {}: {}", arguments.join(" "), output.status, errors.trim());
    }
    Ok(output.stdout)
}

/// Decodes and records one stream of sound.
pub struct Listener {
    process: Process,
    wav: PathBuf,
    /// Where it takes RTP.
    pub port: u16,
}

impl Listener {
    /// Starts to decode.
    pub fn start(name: &str, folder: &Path, voice: &Voice) -> Result<Listener> {
        let port = ports::udp_pair()?.0.local_addr()?.port();
        let (sdp, wav) = (folder.join(format!("{name}.sdp")), folder.join(format!("{name}.wav")));
        let text = format!(
            "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=motet demo\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n\
             m=audio {port} RTP/AVP {}\r\n{}\r\n",
            voice.payload_type,
            voice.rtpmap()
        );
        std::fs::write(&sdp, text).with_context(|| format!("cannot write {}", sdp.display()))?;
        let mut arguments = words("-protocol_whitelist file,udp,rtp -analyzeduration 0 -i");
        arguments.push(sdp.display().to_string());
        arguments.extend(words(&format!("-ac 1 -ar {SAMPLE_RATE} -c:a pcm_s16le -f wav")));
        arguments.push(wav.display().to_string());
        let process = Process::start(name.to_owned(), folder, &arguments, Stdio::null())?;
        Ok(Listener { process, wav, port })
    }

    /// Name of the recording.
    pub fn name(&self) -> String {
        self.wav.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }

    /// Whether it listens.
    pub fn is_ready(&mut self) -> Result<bool> {
        self.process.check()?;
        Ok(ports::is_bound(self.port))
    }

    /// Ends it and gives the recording's samples.
    pub async fn end(self) -> Result<Vec<i16>> {
        self.process.end().await?;
        let wav = std::fs::read(&self.wav).unwrap_or_default();
        Ok(crate::hearing::wav_samples(&wav))
    }
}

/// Decodes what one participant receives of another.
pub struct Decoder {
    process: Process,
    pictures: JoinHandle<std::io::Result<Seen>>,
    wav: PathBuf,
    /// Ports at which it takes the RTP of audio and of video.
    pub ports: [u16; 2],
}

impl Decoder {
    /// Starts to decode. `keep` holds the indices of the pictures for the contact sheet.
    pub fn start(name: &str, folder: &Path, keep: Vec<usize>) -> Result<Decoder> {
        // Held together while choosing, so that the two differ; ffmpeg binds them again.
        let (audio, video) = (ports::udp_pair()?, ports::udp_pair()?);
        let ports = [audio.0.local_addr()?.port(), video.0.local_addr()?.port()];
        drop((audio, video));
        let sdp = folder.join(format!("{name}.sdp"));
        std::fs::write(&sdp, describe(ports)).with_context(|| format!("cannot write {}", sdp.display()))?;
        let wav = folder.join(format!("{name}.wav"));
        let line = format!(
            "-protocol_whitelist file,udp,rtp -analyzeduration 2000000 -i SDP \
             -map 0:v -fps_mode passthrough -f rawvideo -pix_fmt rgb24 pipe:1 \
             -map 0:a -ac 1 -ar {SAMPLE_RATE} -c:a pcm_s16le -f wav WAV"
        );
        let mut arguments = words(&line);
        // Paths may hold spaces.
        for argument in &mut arguments {
            match argument.as_str() {
                "SDP" => *argument = sdp.display().to_string(),
                "WAV" => *argument = wav.display().to_string(),
                _ => {}
            }
        }
        let mut process = Process::start(name.to_owned(), folder, &arguments, Stdio::piped())?;
        let stdout = process.child.stdout.take().context("ffmpeg's output is a pipe")?;
        let pictures = tokio::spawn(read_pictures(stdout, keep));
        Ok(Decoder { process, pictures, wav, ports })
    }

    /// Whether it listens.
    pub fn is_ready(&mut self) -> Result<bool> {
        self.process.check()?;
        Ok(self.ports.iter().all(|port| ports::is_bound(*port)))
    }

    /// Ends it and gives what was seen, the recording's samples, and the number of errors.
    pub async fn end(self) -> Result<(Seen, Vec<i16>, usize)> {
        let errors = self.process.end().await?;
        let seen = self.pictures.await?.context("cannot read ffmpeg's pictures")?;
        // A decoder that never saw a picture has not begun its outputs.
        let wav = std::fs::read(&self.wav).unwrap_or_default();
        Ok((seen, crate::hearing::wav_samples(&wav), errors))
    }
}

async fn read_pictures(mut stdout: tokio::process::ChildStdout, keep: Vec<usize>) -> std::io::Result<Seen> {
    let mut seen = Seen::default();
    let mut picture = vec![0; PICTURE_BYTES];
    loop {
        match stdout.read_exact(&mut picture).await {
            Ok(_) => {
                let keep = keep.contains(&seen.pictures);
                seen.look(&picture, keep);
            }
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => return Ok(seen),
            Err(error) => return Err(error),
        }
    }
}

fn describe([audio, video]: [u16; 2]) -> String {
    format!(
        "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=motet demo\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n\
         m=audio {audio} RTP/AVP {OPUS}\r\na=rtpmap:{OPUS} opus/48000/2\r\n\
         m=video {video} RTP/AVP {H264}\r\na=rtpmap:{H264} H264/90000\r\na=fmtp:{H264} packetization-mode=1\r\n"
    )
}

fn words(line: &str) -> Vec<String> {
    line.split_whitespace().map(str::to_owned).collect()
}
