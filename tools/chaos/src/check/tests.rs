//! One conference that is as it must be, and what is said of each way in which it is not.

use super::*;
use crate::media::PartyId;
use motet_proto::conference::ParticipantInfo;

fn ledger() -> Ledger {
    let mut ledger = Ledger::default();
    ledger.created("c1", "700", "one", 1);
    ledger.change("c1", |expected| {
        expected.people.insert("ann".into(), PartyId(0));
    });
    ledger
}

fn info() -> ConferenceInfo {
    let ann = ParticipantInfo { id: "ann".into(), alive: true, ..ParticipantInfo::default() };
    ConferenceInfo {
        id: "c1".into(),
        number: "700".into(),
        name: "one".into(),
        state: ConferenceState::Running.into(),
        node_id: "n1".into(),
        epoch: 1,
        participants: vec![ann],
        ..ConferenceInfo::default()
    }
}

fn copy() -> RunningConference {
    RunningConference { id: "c1".into(), epoch: 1, legs: vec!["ann".into()], ..RunningConference::default() }
}

fn found(list: Vec<ConferenceInfo>, nodes: Vec<(&str, RunningConference)>) -> Vec<String> {
    let mut views = Views::default();
    views.css.insert("css1".into(), list);
    for (node, copy) in nodes {
        views.nodes.entry(node.into()).or_default().push(copy);
    }
    violations(&ledger(), &views)
}

fn says(found: &[String], rules: &[&str]) {
    let said: Vec<&str> = found.iter().filter_map(|line| Some(line.split_once(':')?.0)).collect();
    assert_eq!(said, rules, "{found:?}");
}

#[test]
fn what_is_as_it_must_be_is_not_mentioned() {
    says(&found(vec![info()], vec![("n1", copy())]), &[]);
}

#[test]
fn a_lost_conference_is_found_and_its_copy_leaks() {
    says(&found(vec![], vec![("n1", copy())]), &["N1", "N9"]);
}

#[test]
fn two_homes_none_and_a_wrong_one_are_found() {
    says(&found(vec![info()], vec![("n1", copy()), ("n2", copy())]), &["N2"]);
    says(&found(vec![info()], vec![]), &["N2"]);
    says(&found(vec![info()], vec![("n2", copy())]), &["N2"]);
    let other = RunningConference { epoch: 2, ..copy() };
    says(&found(vec![info()], vec![("n1", other)]), &["N2"]);
}

#[test]
fn people_and_settings_are_compared() {
    let silent = ParticipantInfo { id: "ann".into(), ..ParticipantInfo::default() };
    let ghost = ParticipantInfo { id: "bob".into(), alive: true, ..ParticipantInfo::default() };
    let changed = ConferenceInfo { participants: vec![silent, ghost], locked: true, ..info() };
    says(&found(vec![changed.clone()], vec![("n1", copy())]), &["N4", "N3"]);
    let mut views = Views::default();
    views.css.insert("css1".into(), vec![changed]);
    assert_eq!(shown_silent(&ledger(), &views).len(), 1, "bob has not joined");
    let gone = ConferenceInfo { participants: vec![], ..info() };
    says(&found(vec![gone], vec![("n1", RunningConference { legs: vec![], ..copy() })]), &["N3", "N3"]);
}

#[test]
fn states_numbers_and_epochs_are_compared() {
    let changed = ConferenceInfo {
        number: "701".into(),
        epoch: 0,
        state: ConferenceState::PendingRestore.into(),
        ..info()
    };
    let old = RunningConference { epoch: 0, ..copy() };
    says(&found(vec![changed], vec![("n1", old)]), &["N1", "N1", "N12"]);
}

#[test]
fn what_nobody_asked_for_is_found_and_what_had_no_answer_is_not() {
    let other = ConferenceInfo { id: "c2".into(), name: "two".into(), ..info() };
    let running = vec![("n1", copy())];
    says(&found(vec![info(), other.clone()], running.clone()), &["N5"]);
    let mut views = Views::default();
    views.css.insert("css1".into(), vec![info(), other]);
    views.nodes.insert("n1".into(), vec![copy()]);
    let mut ledger = ledger();
    ledger.unsure.insert("two".into());
    says(&violations(&ledger, &views), &[]);
    ledger.change("c1", |expected| expected.ended = true);
    says(&violations(&ledger, &views), &["N1"]);
}
