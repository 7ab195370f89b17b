use super::node::late_ticks;
use super::*;
use crate::figures::Figure;
use motet_rtpgen::audio::report::Report;

fn turn(core_busy: f64, missing: u64) -> Turn {
    let report = Report { missing, voices_expected: 4, voices_heard: 3, ..Report::default() };
    Turn { core_busy, late_ticks: Some(1), quality: None, snr_db: None, report }
}

fn value(figures: &[Figure], metric: &str) -> Option<(f64, Option<f64>)> {
    figures.iter().find(|figure| figure.metric == metric).map(|figure| (figure.value, figure.goal))
}

#[test]
fn ratios_are_those_of_the_same_round_and_goals_are_ours() {
    let row = ROWS[0];
    let busy =
        |mixer, values: [f64; 3]| Results { row, mixer, turns: values.map(|value| turn(value, 2)).into() };
    let all = [busy("motet", [0.05, 0.2, 0.06]), busy("janus", [0.5, 1.0, 0.6])];
    let ours = all[0].figures(&all);
    assert_eq!(value(&ours, "core_percent_each"), Some((0.06, Some(0.06))));
    let (ratio, goal) = value(&ours, "ratio_to_janus").expect("Janus took part");
    assert!((ratio - 0.1).abs() < 1e-9 && goal == Some(1.0 / 12.0));
    assert_eq!(value(&ours, "late_ticks"), Some((3.0, None)));
    assert_eq!(value(&ours, "missing"), Some((6.0, Some(0.0))));
    assert_eq!(value(&ours, "voices_unheard"), Some((3.0, Some(0.0))));
    let janus = all[1].figures(&all);
    assert_eq!(value(&janus, "ratio_to_janus"), None);
    assert!(janus.iter().all(|figure| figure.goal.is_none()));
    let table = row_table(&row, &all);
    assert!(
        table.contains("9 of 12")
            && table.contains("missing ≤ 0 MISSED")
            && table.contains("janus / 12 MISSED"),
        "{table}"
    );
}

#[test]
fn names_of_rows_differ_and_rooms_have_talkers() {
    for (index, row) in ROWS.iter().enumerate() {
        assert!(ROWS[..index].iter().all(|other| other.name != row.name), "{}", row.name);
        assert!(
            row.people > row.listeners && row.talkers as usize <= row.people - row.listeners,
            "{}",
            row.name
        );
    }
}

#[test]
fn late_and_missed_ticks_are_summed_over_threads() {
    let page = "# TYPE motet_mixing_late_ticks counter\n\
                motet_mixing_late_ticks_total{thread=\"0\"} 3\n\
                motet_mixing_late_ticks_total{thread=\"1\"} 4\n\
                motet_mixing_missed_ticks_total{thread=\"0\"} 1\n\
                motet_mixing_ticks_total{thread=\"0\"} 900\n";
    assert_eq!(late_ticks(page), Some(8));
    assert_eq!(late_ticks("motet_relay_packets_total 4\n"), None);
}
