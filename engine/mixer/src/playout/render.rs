//! The tick that was taken, at the rate of its codec; it is brought to the rate of the mix only where it is mixed.

use super::Pulled;
use crate::playout::TICKS_PER_SECOND;
use crate::rate::{Converter, Filter};
use std::sync::Arc;

/// See the module.
pub(super) struct Render {
    /// None: both rates are the same.
    converter: Option<Converter>,
    /// At the codec's rate.
    pub(super) tick: Vec<f32>,
    /// What the filter's memory holds the end of.
    sounding: Pulled,
}

impl Render {
    pub(super) fn new(line_hz: u32, filter: Option<Arc<Filter>>) -> Render {
        let tick = vec![0.0; (line_hz / TICKS_PER_SECOND) as usize];
        Render { converter: filter.map(Converter::new), tick, sounding: Pulled::Silence }
    }

    /// Takes note of a tick, whose sound is in `tick` unless it is silence. The filter delays sound, so that its end
    /// comes a tick after that.
    pub(super) fn take(&mut self, pulled: Pulled) -> Pulled {
        let Some(converter) = &mut self.converter else { return pulled };
        let before = std::mem::replace(&mut self.sounding, pulled);
        if pulled != Pulled::Silence {
            converter.feed(&self.tick);
            return pulled;
        }
        if before != Pulled::Silence {
            self.tick.fill(0.0);
            converter.feed(&self.tick);
        }
        before
    }

    /// The tick at the rate of the mix.
    pub(super) fn render(&self, out: &mut [f32]) {
        match &self.converter {
            Some(converter) => converter.render(out),
            None => out.copy_from_slice(&self.tick),
        }
    }

    /// What comes next does not follow what was before.
    pub(super) fn reset(&mut self) {
        if let Some(converter) = self.converter.as_mut().filter(|_| self.sounding != Pulled::Silence) {
            converter.reset();
        }
        self.sounding = Pulled::Silence;
    }
}
