//! What turns packets of a source into sound, by [`Playout`].

use crate::audio::mixer::AudioMixer;
use crate::audio::source::Voice;
use crate::audio::{MixError, SourceConfig, SourcePayload};
use crate::playout::{
    Carries, Inserted, PayloadSetting, Playout, PlayoutConfig, PlayoutStats, Pulled, SourcePacket,
};
use motet_rtp::Time;

impl AudioMixer {
    pub(super) fn add_source(&mut self, config: SourceConfig) -> Result<(), MixError> {
        let playout = PlayoutConfig {
            mix_rate_hz: self.config.rate_hz,
            delay_ms_min: self.config.delay_ms_min,
            delay_ms_max: self.config.delay_ms_max,
        };
        let settings = config.payloads.iter().map(|(payload_type, payload)| {
            let (clock_hz, carries) = match payload {
                SourcePayload::Sound(codec) => {
                    (codec.clock_hz, Carries::Sound(codec.decoder_at(self.config.rate_hz)?))
                }
                SourcePayload::Events { clock_hz } => (*clock_hz, Carries::Events),
                SourcePayload::ComfortNoise { clock_hz } => (*clock_hz, Carries::ComfortNoise),
            };
            Ok(PayloadSetting { payload_type: *payload_type, clock_hz, carries })
        });
        let settings = settings.collect::<Result<Vec<_>, MixError>>()?;
        let playout = Playout::new(playout, settings).map_err(MixError::Playout)?;
        self.add_voice(config, Box::new(playout))
    }
}

impl Voice for Playout {
    fn insert(&mut self, now: Time, packet: &SourcePacket<'_>) -> Inserted {
        Playout::insert(self, now, packet)
    }

    fn listen(&mut self, now: Time) -> Pulled {
        Playout::listen(self, now)
    }

    fn rate_hz(&self) -> u32 {
        self.line_hz()
    }

    fn heard(&self) -> &[f32] {
        Playout::heard(self)
    }

    fn render(&self, samples: &mut [f32]) {
        Playout::render(self, samples);
    }

    fn skip(&mut self, now: Time) {
        Playout::skip(self, now);
    }

    fn miss(&mut self, now: Time, ticks: u32) {
        Playout::miss(self, now, ticks);
    }

    fn take_spare_us(&mut self) -> Option<i64> {
        Playout::take_spare_us(self)
    }

    fn stats(&self, now: Time) -> PlayoutStats {
        Playout::stats(self, now)
    }
}
