use super::*;

const AFTER: Duration = Duration::from_secs(2);

fn at(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

fn elsewhere(port: u16) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 9], port))
}

fn claim(sequence: u16, continues: bool) -> Claim {
    Claim { ssrc: 7, sequence: WireSeq(sequence), continues, publishes: true }
}

/// What a source gets for `count` packets in sequence, sent at once.
fn send(latch: &mut Latching, ms: u64, source: SocketAddr, count: u16, continues: bool) -> Vec<Judgement> {
    let now = Time::from_millis(ms);
    let one = |index| match latch.hear(now, source) != Heard::Other {
        true => Judgement::Accept,
        false => latch.judge(now, source, claim(index, continues), AFTER),
    };
    (0..count).map(one).collect()
}

fn rtcp(latch: &mut Latching, ms: u64, source: SocketAddr, publishes: bool) -> Judgement {
    latch.judge_rtcp(Time::from_millis(ms), source, RtcpClaim { ssrc: Some(7), publishes }, AFTER)
}

fn symmetric(remote: Option<SocketAddr>) -> Latching {
    Latching::new(Latch::Symmetric, remote, None, true)
}

use Judgement::{Accept, Latched, OffPath, Probation};

#[test]
fn an_unknown_source_proves_itself_by_two_packets_in_sequence() {
    let mut latch = symmetric(None);
    assert_eq!(latch.destination(), None);
    assert_eq!(send(&mut latch, 0, at(5000), 3, false), [Probation, Latched, Accept]);
    assert_eq!(latch.destination(), Some(at(5000)));
}

#[test]
fn packets_out_of_sequence_prove_nothing() {
    let mut latch = symmetric(None);
    for sequence in [10, 20, 30, 40] {
        assert_eq!(latch.judge(Time::ZERO, at(5000), claim(sequence, false), AFTER), Probation);
    }
    assert_eq!(latch.source(), None);
}

#[test]
fn the_signalled_address_is_taken_at_once() {
    let mut latch = symmetric(Some(at(5000)));
    assert_eq!(latch.destination(), Some(at(5000)), "before any packet");
    assert_eq!(send(&mut latch, 0, at(5000), 1, false), [Latched]);
}

#[test]
fn a_source_that_is_alive_cannot_be_replaced() {
    let mut latch = symmetric(None);
    send(&mut latch, 0, at(5000), 2, false);
    let attack = send(&mut latch, 1_999, elsewhere(6000), 100, true);
    assert!(attack.iter().all(|judgement| *judgement == OffPath));
    assert_eq!(latch.destination(), Some(at(5000)));
}

#[test]
fn after_a_silence_only_who_continues_the_stream_may_take_over() {
    let mut latch = symmetric(None);
    send(&mut latch, 0, at(5000), 60, false);
    let stranger = send(&mut latch, 60_000, elsewhere(6000), 100, false);
    assert!(stranger.iter().all(|judgement| *judgement == OffPath));
    let roaming = send(&mut latch, 60_000, elsewhere(7000), 5, true);
    assert_eq!(roaming, [Probation, Probation, Probation, Probation, Latched]);
}

#[test]
fn the_edge_of_silence() {
    for (ms, first) in [(1_999, OffPath), (2_000, Probation)] {
        let mut latch = symmetric(None);
        send(&mut latch, 0, at(5000), 2, false);
        assert_eq!(send(&mut latch, ms, elsewhere(6000), 1, true), [first], "after {ms} ms");
    }
}

#[test]
fn a_guess_yields_to_the_signalled_address_once() {
    let mut latch = symmetric(Some(at(5000)));
    assert_eq!(send(&mut latch, 0, elsewhere(6000), 2, false), [Probation, Latched]);
    assert_eq!(send(&mut latch, 10, at(5000), 1, false), [Latched], "it speaks for the first time");
    assert_eq!(send(&mut latch, 20, elsewhere(6000), 5, true)[4], OffPath);
}

#[test]
fn a_flood_of_candidates_does_not_keep_the_real_one_out() {
    let mut latch = symmetric(None);
    for port in 6000..6050 {
        send(&mut latch, 0, elsewhere(port), 1, false);
    }
    assert_eq!(send(&mut latch, 0, at(5000), 2, false)[1], Latched);
}

#[test]
fn fixed_never_moves_and_takes_any_port_of_the_host() {
    let mut latch = Latching::new(Latch::Fixed, Some(at(5000)), None, false);
    assert_eq!(send(&mut latch, 0, elsewhere(5000), 9, true)[8], OffPath);
    assert_eq!(send(&mut latch, 0, at(40_000), 2, false), [Latched, Accept]);
    assert_eq!(latch.destination(), Some(at(5000)));
    assert_eq!(send(&mut latch, 1_000, at(41_000), 2, false)[1], OffPath, "the first is alive");
    assert_eq!(send(&mut latch, 3_000, at(41_000), 2, false)[1], Latched, "a program that was started again");
    assert_eq!((latch.destination(), latch.rtcp_destination()), (Some(at(5000)), Some(at(5001))));
}

#[test]
fn strict_takes_one_address_only() {
    let mut latch = Latching::new(Latch::Strict, Some(at(5000)), None, true);
    assert_eq!(send(&mut latch, 60_000, at(5002), 9, true)[8], OffPath);
    assert_eq!(send(&mut latch, 60_000, at(5000), 1, false), [Latched]);
}

#[test]
fn control_can_have_the_source_learnt_again() {
    let mut latch = symmetric(None);
    send(&mut latch, 0, at(5000), 2, false);
    latch.set(Latch::Symmetric, None, None, true);
    assert_eq!(latch.destination(), None);
    assert_eq!(send(&mut latch, 1, elsewhere(6000), 2, false), [Probation, Latched]);
}

#[test]
fn a_new_address_keeps_a_lock_that_it_allows() {
    let mut latch = Latching::new(Latch::Fixed, Some(at(5000)), None, true);
    send(&mut latch, 0, at(40_000), 2, false);
    latch.set(Latch::Fixed, Some(at(5010)), None, false);
    assert_eq!((latch.source(), latch.destination()), (Some(at(40_000)), Some(at(5010))));
    latch.set(Latch::Fixed, Some(elsewhere(5010)), None, false);
    assert_eq!(latch.source(), None);
}

#[test]
fn rtcp_comes_from_the_source_or_its_host_and_does_not_lock() {
    let mut mux = symmetric(None);
    assert_eq!(rtcp(&mut mux, 0, at(5000), true), OffPath);
    send(&mut mux, 0, at(5000), 2, false);
    assert_eq!(rtcp(&mut mux, 0, at(5000), true), Accept);
    assert_eq!(rtcp(&mut mux, 0, at(5001), true), OffPath);

    let mut apart = Latching::new(Latch::Symmetric, None, None, false);
    send(&mut apart, 0, at(5000), 2, false);
    assert_eq!(apart.rtcp_destination(), Some(at(5001)));
    assert_eq!(rtcp(&mut apart, 0, at(5555), true), Accept);
    assert_eq!(apart.rtcp_destination(), Some(at(5555)));
    assert_eq!(rtcp(&mut apart, 0, elsewhere(5001), true), OffPath);
}

#[test]
fn a_listener_may_show_itself_by_two_rtcp_datagrams() {
    let mut latch = symmetric(None);
    assert_eq!(rtcp(&mut latch, 0, at(5000), false), Probation);
    assert_eq!(latch.destination(), None);
    assert_eq!(rtcp(&mut latch, 5_000, at(5000), false), Latched);
    assert_eq!(latch.destination(), Some(at(5000)));
}

#[test]
fn one_rtcp_datagram_takes_nothing() {
    let mut latch = symmetric(None);
    let stray = RtcpClaim { ssrc: Some(9), publishes: false };
    let nobody = RtcpClaim { ssrc: None, publishes: false };
    for claim in [nobody, nobody, stray] {
        latch.judge_rtcp(Time::ZERO, elsewhere(6000), claim, AFTER);
    }
    rtcp(&mut latch, 0, elsewhere(6000), false);
    assert_eq!(latch.source(), None, "two datagrams, but of two senders");
    assert_eq!(send(&mut latch, 0, at(5000), 2, false), [Probation, Latched]);
    assert_eq!(rtcp(&mut latch, 60_000, elsewhere(6000), false), OffPath, "the source is no guess");
}

#[test]
fn a_guess_by_rtcp_is_given_up_when_it_falls_silent() {
    let locked = || {
        let mut latch = symmetric(None);
        rtcp(&mut latch, 0, elsewhere(6000), false);
        rtcp(&mut latch, 0, elsewhere(6000), false);
        latch
    };
    let mut latch = locked();
    for ms in [1_000, 24_999] {
        assert_eq!(rtcp(&mut latch, ms, at(5000), false), OffPath, "alive");
        assert_eq!(send(&mut latch, ms, at(5000), 9, true)[8], OffPath, "alive");
    }
    let mut by_rtp = latch.clone();
    assert_eq!([0, 1].map(|_| rtcp(&mut latch, 25_000, at(5000), false)), [Probation, Latched]);
    assert_eq!(send(&mut by_rtp, 25_000, at(5000), 2, false), [Probation, Latched]);

    let mut proven = locked();
    proven.prove();
    send(&mut proven, 0, elsewhere(6000), 50, true);
    assert_eq!(rtcp(&mut proven, 60_000, at(5000), false), OffPath);
    assert_eq!(send(&mut proven, 60_000, at(5000), 9, false)[8], OffPath, "it continues no stream");
}

#[test]
fn rtcp_keeps_a_source_alive() {
    let mut latch = symmetric(None);
    send(&mut latch, 0, at(5000), 2, false);
    rtcp(&mut latch, 3_000, at(5000), true);
    assert_eq!(send(&mut latch, 4_000, elsewhere(6000), 1, true), [OffPath]);
}

#[test]
fn a_lock_is_earned_by_fifty_packets() {
    for (packets, last) in [(50, Latched), (51, OffPath)] {
        let mut latch = symmetric(None);
        // One of them is taken on probation, before the lock; one locks.
        send(&mut latch, 0, at(5000), packets + 1, false);
        assert_eq!(send(&mut latch, 1_999, elsewhere(6000), 9, false)[8], OffPath, "it is alive");
        assert_eq!(send(&mut latch, 2_000, elsewhere(6000), 5, false)[4], last, "after {packets} packets");
    }
}

#[test]
fn a_learnt_address_lapses_and_comes_back() {
    let minute = Duration::from_secs(60);
    for (packets, silence_ms) in [(51, 25_000), (52, 60_000)] {
        let mut latch = symmetric(None);
        send(&mut latch, 0, at(5000), packets, false);
        latch.look(Time::from_millis(silence_ms - 1), minute);
        assert_eq!(latch.destination(), Some(at(5000)));
        latch.look(Time::from_millis(silence_ms), minute);
        assert_eq!((latch.destination(), latch.rtcp_destination()), (None, None));
        assert_eq!(rtcp(&mut latch, silence_ms + 1, at(5000), true), Accept);
        assert_eq!(latch.destination(), Some(at(5000)), "by RTCP");
        latch.look(Time::from_millis(2 * silence_ms + 1), minute);
        assert_eq!(latch.destination(), None);
        assert_eq!(send(&mut latch, 200_000, at(5000), 1, false), [Accept]);
        assert_eq!(latch.destination(), Some(at(5000)), "by RTP");
    }
}

#[test]
fn a_signalled_address_does_not_lapse() {
    let mut latch = symmetric(Some(at(5000)));
    send(&mut latch, 0, at(5000), 1, false);
    latch.look(Time::from_millis(900_000), AFTER);
    assert_eq!(latch.destination(), Some(at(5000)));
    // Who was learnt while it was signalled elsewhere does, and the signalled address is left.
    let mut latch = symmetric(Some(at(5000)));
    send(&mut latch, 0, elsewhere(6000), 2, false);
    latch.look(Time::from_millis(25_000), AFTER);
    assert_eq!(latch.destination(), Some(at(5000)));
}

#[test]
fn rtcp_at_its_own_port_keeps_an_address_and_not_a_lock() {
    let mut latch = Latching::new(Latch::Symmetric, None, None, false);
    send(&mut latch, 0, at(5000), 60, false);
    assert_eq!(rtcp(&mut latch, 50_000, at(5001), true), Accept);
    latch.look(Time::from_millis(109_999), Duration::from_secs(60));
    assert_eq!(latch.destination(), Some(at(5000)));
    // A NAT gave the RTP flow another port; RTCP goes on.
    assert_eq!(send(&mut latch, 50_001, at(5002), 5, true)[4], Latched);
}

#[test]
fn rtp_where_none_is_expected_is_a_guess() {
    let mut latch = symmetric(None);
    let nobodys = |sequence| Claim { publishes: false, ..claim(sequence, false) };
    let judge = |latch: &mut Latching, ms, source, sequence| {
        latch.judge(Time::from_millis(ms), source, nobodys(sequence), AFTER)
    };
    assert_eq!([1, 2].map(|n| judge(&mut latch, 0, elsewhere(6000), n)), [Probation, Latched]);
    assert_eq!([1, 2].map(|n| judge(&mut latch, 24_999, at(5000), n)), [OffPath, OffPath]);
    assert_eq!(rtcp(&mut latch, 24_999, at(5000), false), OffPath);
    assert_eq!([0, 1].map(|_| rtcp(&mut latch, 25_000, at(5000), false)), [Probation, Latched]);
}

#[test]
fn a_flood_between_its_packets_only_delays_the_real_one() {
    let mut latch = symmetric(None);
    let mut port = 10_000;
    let locked = (0..2_000).find(|sequence| {
        for _ in 0..10 {
            send(&mut latch, 0, elsewhere(port), 1, false);
            port = port.wrapping_add(1);
        }
        let real = Claim { ssrc: 9, ..claim(*sequence, false) };
        latch.judge(Time::ZERO, at(5000), real, AFTER) == Latched
    });
    // Ten strangers for each packet of its own, and eight places: about one in four passes.
    assert!(locked.is_some_and(|sequence| sequence < 50), "{locked:?}");
}
