//! What to do with a node that ends, or that no longer says that it is well. Pure: the time comes in as
//! the time since the supervisor started.

use std::time::Duration;

/// The first pause before a node is started again; each further one is twice as long.
const PAUSE_MIN: Duration = Duration::from_millis(500);
const PAUSE_MAX: Duration = Duration::from_secs(30);
/// A node that was ready for this long was well; the next pause is short again.
const WELL_AFTER: Duration = Duration::from_secs(60);
/// A node has so long to become ready, and again from word to word.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
/// Time for a node to become ready; more than [`PATIENCE`], since it may measure itself first.
const START_MAX: Duration = Duration::from_secs(90);

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// With this exit code.
    Code(i32),
    /// By this signal.
    Signal(i32),
}

/// What to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Start it again after a pause.
    Restart(Duration),
    /// Starting it again would not help; end with this code.
    GiveUp(u8, String),
}

/// The life of one node over all its processes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Policy {
    started: Duration,
    /// When this process became ready.
    ready_since: Option<Duration>,
    /// When it last said that it is well.
    heard: Duration,
    ever_ready: bool,
    /// Ends in a row that came before it was well.
    failures: u32,
}

impl Policy {
    /// A process was started.
    pub(crate) fn on_start(&mut self, now: Duration) {
        (self.started, self.heard, self.ready_since) = (now, now, None);
    }

    /// It serves. True: for the first time since the supervisor started.
    pub(crate) fn on_ready(&mut self, now: Duration) -> bool {
        self.heard = now;
        self.ready_since.get_or_insert(now);
        !std::mem::replace(&mut self.ever_ready, true)
    }

    /// It says that its workers move.
    pub(crate) fn on_alive(&mut self, now: Duration) {
        self.heard = now;
    }

    /// When it counts as hung.
    pub(crate) fn deadline(&self) -> Duration {
        self.heard + if self.ready_since.is_some() { PATIENCE } else { START_MAX }
    }

    /// It ended without being asked to.
    pub(crate) fn on_end(&mut self, now: Duration, end: End) -> Next {
        match end {
            End::Code(2) => return Next::GiveUp(2, "was started with wrong options, see its message".into()),
            // What has never run is set up wrongly; better to say so than to try for ever.
            _ if !self.ever_ready => {
                return Next::GiveUp(1, format!("could not be started: it {}", how(end)));
            }
            _ => {}
        }
        let was_well = self.ready_since.is_some_and(|since| now.saturating_sub(since) >= WELL_AFTER);
        self.failures = if was_well { 0 } else { self.failures.saturating_add(1) };
        let doubled = PAUSE_MIN.saturating_mul(1 << self.failures.saturating_sub(1).min(16));
        Next::Restart(doubled.min(PAUSE_MAX))
    }
}

/// An end in words, after "it".
pub(crate) fn how(end: End) -> String {
    match end {
        End::Code(code) => format!("ended with exit code {code}"),
        End::Signal(signal) => format!("ended by signal {signal}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: Duration = Duration::from_secs(1);
    const CRASH: End = End::Signal(6);

    fn ready_at(now: Duration) -> Policy {
        let mut policy = Policy::default();
        policy.on_start(now);
        assert!(policy.on_ready(now));
        policy
    }

    #[test]
    fn pauses_double_until_the_node_is_well() {
        let mut policy = ready_at(S);
        let mut now = S;
        let mut pauses = Vec::new();
        for _ in 0..9 {
            let Next::Restart(pause) = policy.on_end(now, CRASH) else { panic!("it has been ready") };
            pauses.push(pause.as_millis());
            now += pause;
            policy.on_start(now);
            assert!(!policy.on_ready(now), "not for the first time");
        }
        assert_eq!(pauses, [500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000, 30_000]);
        assert_eq!(policy.on_end(now + WELL_AFTER - S, CRASH), Next::Restart(PAUSE_MAX), "not well yet");
        policy.on_start(now);
        policy.on_ready(now);
        assert_eq!(policy.on_end(now + WELL_AFTER, CRASH), Next::Restart(PAUSE_MIN));
    }

    #[test]
    fn a_clean_end_that_nobody_asked_for_is_started_again() {
        assert_eq!(ready_at(S).on_end(2 * S, End::Code(0)), Next::Restart(PAUSE_MIN));
    }

    #[test]
    fn what_never_ran_is_not_tried_for_ever() {
        let mut policy = Policy::default();
        policy.on_start(S);
        let Next::GiveUp(1, why) = policy.on_end(2 * S, End::Code(1)) else { panic!("it never was ready") };
        assert!(why.contains("exit code 1"), "{why}");
    }

    #[test]
    fn wrong_options_do_not_become_right() {
        assert!(matches!(ready_at(S).on_end(2 * S, End::Code(2)), Next::GiveUp(2, _)));
    }

    #[test]
    fn a_node_that_falls_silent_is_hung() {
        let mut policy = Policy::default();
        policy.on_start(S);
        assert_eq!(policy.deadline(), S + START_MAX, "it may measure itself first");
        policy.on_ready(10 * S);
        assert_eq!(policy.deadline(), 10 * S + PATIENCE);
        policy.on_alive(15 * S);
        assert_eq!(policy.deadline(), 15 * S + PATIENCE);
        policy.on_start(40 * S);
        assert_eq!(policy.deadline(), 40 * S + START_MAX, "another process");
    }
}
