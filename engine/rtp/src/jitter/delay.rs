//! How long packets must wait so that most of them are there in time.
//!
//! A packet's transit time is its arrival less its media time, both in microseconds from arbitrary origins:
//! only differences count. The least transit time of the last seconds is the base; what a packet took longer
//! than the base goes to a histogram that forgets, and a high quantile of it is the delay to aim at. A packet
//! that comes too late raises the aim at once; that wears off slowly.

/// Share of packets that the histogram's part of the aim is enough for.
const QUANTILE: f64 = 0.985;
/// What a packet counts for, against the one after it: half after 3.5 s of 20 ms packets.
const FORGET: f64 = 0.996;
/// Weights are brought down again when they have grown by this much.
const WEIGHT_MAX: f64 = 1e9;
/// The base is the least of two windows of this length, so of 2 to 4 s.
const WINDOW_US: i64 = 2_000_000;
/// How long the aim stays up after a late packet, and how fast it then falls.
const PEAK_HOLD_US: i64 = 2_000_000;
const PEAK_FALL_US_PER_S: i64 = 20_000;
/// What is kept between a packet's arrival and its moment in any case.
const MARGIN_US: i64 = 750;
/// Width of the histogram's buckets, and how many there are of that width.
const BUCKETS: [(i64, usize); 4] = [(250, 32), (1000, 56), (8000, 56), (64_000, 30)];
const BUCKET_COUNT: usize = 174;
/// None yet.
const NONE: i64 = i64::MAX;

/// Transit times of one source, and what follows from them.
#[derive(Clone, Debug)]
pub(super) struct DelayEstimate {
    /// Least transit time of this window and of the one before.
    least_us: [i64; 2],
    window_end_us: i64,
    last_seen_us: i64,
    buckets: [f64; BUCKET_COUNT],
    total: f64,
    weight: f64,
    /// The bucket that the quantile lies in, and what those above it hold.
    quantile: usize,
    above: f64,
    peak_us: i64,
    peak_since_us: i64,
    last_transit_us: Option<i64>,
    /// In sixteenths of a microsecond.
    jitter_16: i64,
}

impl DelayEstimate {
    pub(super) fn new() -> DelayEstimate {
        DelayEstimate {
            least_us: [NONE; 2],
            window_end_us: 0,
            last_seen_us: 0,
            buckets: [0.0; BUCKET_COUNT],
            total: 0.0,
            weight: 1.0,
            quantile: 0,
            above: 0.0,
            peak_us: 0,
            peak_since_us: 0,
            last_transit_us: None,
            jitter_16: 0,
        }
    }

    /// The sender's clock started anew; how its packets are delayed is still known.
    pub(super) fn restart(&mut self) {
        self.least_us = [NONE; 2];
        self.last_transit_us = None;
        self.peak_us = 0;
    }

    /// Takes a packet in. `late`: it came after its moment.
    pub(super) fn on_packet(&mut self, now_us: i64, transit_us: i64, late: bool) {
        self.follow_base(now_us, transit_us);
        if let Some(last) = self.last_transit_us.replace(transit_us) {
            // RFC 3550 section 6.4.1. A jump of minutes is cut off: it is no jitter.
            let difference = (transit_us - last).abs().min(10_000_000);
            self.jitter_16 += difference - ((self.jitter_16 + 8) >> 4);
        }
        let relative_us = transit_us - self.base_us();
        self.count(relative_us);
        if late && relative_us >= self.peak(now_us) {
            self.peak_us = relative_us;
            self.peak_since_us = now_us;
        }
    }

    /// The least transit time of the last seconds.
    pub(super) fn base_us(&self) -> i64 {
        let base = self.least_us[0].min(self.least_us[1]);
        if base == NONE { 0 } else { base }
    }

    /// The delay to aim at, above the base.
    pub(super) fn aim_us(&self, now_us: i64) -> i64 {
        upper_edge_us(self.quantile).max(self.peak(now_us)) + MARGIN_US
    }

    pub(super) fn jitter_us(&self) -> i64 {
        self.jitter_16 >> 4
    }

    fn follow_base(&mut self, now_us: i64, transit_us: i64) {
        if now_us >= self.window_end_us {
            // After a long silence the old base says nothing of a clock that drifts.
            let stale = now_us - self.last_seen_us > 2 * WINDOW_US;
            self.least_us = [NONE, if stale { NONE } else { self.least_us[0] }];
            self.window_end_us = now_us + WINDOW_US;
        }
        self.last_seen_us = now_us;
        self.least_us[0] = self.least_us[0].min(transit_us);
    }

    fn peak(&self, now_us: i64) -> i64 {
        let fallen_us = (now_us - self.peak_since_us - PEAK_HOLD_US).clamp(0, 3_600_000_000);
        (self.peak_us - fallen_us * PEAK_FALL_US_PER_S / 1_000_000).max(0)
    }

    fn count(&mut self, relative_us: i64) {
        let bucket = bucket_of(relative_us);
        self.buckets[bucket] += self.weight;
        self.total += self.weight;
        if bucket > self.quantile {
            self.above += self.weight;
        }
        // Later packets weigh more, rather than all earlier ones less.
        self.weight *= 1.0 / FORGET;
        if self.weight > WEIGHT_MAX {
            self.scale_down();
        }
        // From where the quantile was before it is rarely far.
        let beyond = self.total * (1.0 - QUANTILE);
        while self.quantile > 0 && self.above + self.buckets[self.quantile] <= beyond {
            self.above += self.buckets[self.quantile];
            self.quantile -= 1;
        }
        while self.above > beyond && self.quantile + 1 < BUCKET_COUNT {
            self.quantile += 1;
            self.above -= self.buckets[self.quantile];
        }
    }

    #[cold]
    fn scale_down(&mut self) {
        let scale = 1.0 / self.weight;
        self.buckets.iter_mut().for_each(|bucket| *bucket *= scale);
        self.total *= scale;
        self.weight = 1.0;
        // What rounding has left in the sum goes, too.
        self.above = self.buckets[self.quantile + 1..].iter().sum();
    }
}

fn bucket_of(relative_us: i64) -> usize {
    let (mut rest_us, mut first) = (relative_us.max(0), 0);
    for (width_us, count) in BUCKETS {
        let index = rest_us / width_us;
        if index < count as i64 {
            return first + index as usize;
        }
        rest_us -= width_us * count as i64;
        first += count;
    }
    BUCKET_COUNT - 1
}

fn upper_edge_us(bucket: usize) -> i64 {
    let (mut rest, mut edge_us) = (bucket, 0);
    for (width_us, count) in BUCKETS {
        if rest < count {
            return edge_us + width_us * (rest as i64 + 1);
        }
        rest -= count;
        edge_us += width_us * count as i64;
    }
    edge_us
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACKET_US: i64 = 20_000;

    #[test]
    fn buckets_cover_every_delay_once() {
        assert_eq!(BUCKETS.iter().map(|(_, count)| count).sum::<usize>(), BUCKET_COUNT);
        let mut last = 0;
        for relative_us in (0..3_000_000).step_by(50) {
            let bucket = bucket_of(relative_us);
            assert!(bucket == last || bucket == last + 1 || bucket == BUCKET_COUNT - 1);
            assert!(relative_us < upper_edge_us(bucket) || bucket == BUCKET_COUNT - 1);
            last = bucket;
        }
        assert_eq!(bucket_of(i64::MAX), BUCKET_COUNT - 1);
        assert_eq!(bucket_of(-5), 0);
    }

    #[test]
    fn without_jitter_the_aim_is_a_millisecond() {
        let mut estimate = DelayEstimate::new();
        for packet in 0..500 {
            estimate.on_packet(packet * PACKET_US, 77_000, false);
        }
        assert_eq!(estimate.aim_us(500 * PACKET_US), 1000);
        assert_eq!((estimate.base_us(), estimate.jitter_us()), (77_000, 0));
    }

    #[test]
    fn the_aim_covers_most_of_the_jitter_and_forgets_it() {
        let mut estimate = DelayEstimate::new();
        for packet in 0..3000 {
            estimate.on_packet(packet * PACKET_US, packet * 7919 % 40_000, false);
        }
        let aim = estimate.aim_us(3000 * PACKET_US);
        assert!((39_000..=41_750).contains(&aim), "{aim}");
        for packet in 3000..6000 {
            estimate.on_packet(packet * PACKET_US, 0, false);
        }
        assert_eq!(estimate.aim_us(6000 * PACKET_US), 1000);
    }

    #[test]
    fn the_quantile_is_that_of_all_buckets() {
        let mut estimate = DelayEstimate::new();
        let mut random = 1_u64;
        for packet in 0..40_000_i64 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            // From calm to wild and back, with spikes.
            let width = [500, 30_000, 200_000, 2_000][packet as usize / 2_500 % 4];
            let spike = if random >> 58 == 0 { 400_000 } else { 0 };
            estimate.on_packet(packet * PACKET_US, (random >> 33) as i64 % width + spike, false);
            let (mut beyond, mut bucket) = (estimate.total * (1.0 - QUANTILE), BUCKET_COUNT - 1);
            while bucket > 0 && estimate.buckets[bucket] <= beyond {
                beyond -= estimate.buckets[bucket];
                bucket -= 1;
            }
            // Where two sums are equal but for rounding, either is right.
            let between: f64 =
                estimate.buckets[estimate.quantile.min(bucket)..estimate.quantile.max(bucket)].iter().sum();
            assert!(estimate.quantile == bucket || between < 1e-6 * estimate.total, "packet {packet}");
        }
    }

    #[test]
    fn a_late_packet_raises_the_aim_at_once_and_it_falls_slowly() {
        let mut estimate = DelayEstimate::new();
        (0..500).for_each(|packet| estimate.on_packet(packet * PACKET_US, 0, false));
        let at = 500 * PACKET_US;
        estimate.on_packet(at, 50_000, true);
        assert_eq!(estimate.aim_us(at + PEAK_HOLD_US), 50_750);
        assert_eq!(estimate.aim_us(at + PEAK_HOLD_US + 1_000_000), 30_750);
        assert_eq!(estimate.aim_us(at + PEAK_HOLD_US + 9_000_000), 1000);
    }

    #[test]
    fn the_base_follows_a_clock_that_drifts() {
        let mut estimate = DelayEstimate::new();
        for packet in 0..50_000_i64 {
            // 200 ppm: 4 us each packet.
            estimate.on_packet(packet * PACKET_US, packet * 4, false);
            let behind_us = packet * 4 - estimate.base_us();
            assert!((0..=800).contains(&behind_us), "{behind_us}");
        }
    }

    #[test]
    fn the_base_is_found_anew_after_a_long_silence() {
        let mut estimate = DelayEstimate::new();
        estimate.on_packet(0, 1000, false);
        estimate.on_packet(60_000_000, 13_000, false);
        assert_eq!(estimate.base_us(), 13_000);
    }
}
