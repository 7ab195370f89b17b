//! Each rule fires in a world that breaks it: a check that cannot fail checks nothing.

use motet_sim::{Mutation, Plan, Points, run};

/// Some seed among a few makes the rule fire.
#[track_caller]
fn fires(mutation: Mutation, rule: &str, says: &str) {
    let mut seen = Vec::new();
    for seed in 1..=60 {
        let plan = Plan { mutation: Some(mutation), ..Plan::draw(seed) };
        let violations = run(plan, false, Points::default()).violations;
        if violations.iter().any(|found| found.rule == rule && found.what.contains(says)) {
            return;
        }
        seen.extend(violations.into_iter().take(2).map(|found| found.to_string()));
    }
    panic!("{mutation:?} broke no rule {rule} with '{says}', but {seen:#?}");
}

#[test]
fn a_store_that_takes_stale_writes() {
    fires(Mutation::StoreTakesStaleWrites, "N12", "the store took");
}

#[test]
fn a_node_that_takes_stale_commands() {
    fires(Mutation::NodeTakesStaleEpochs, "N12", "over");
}

#[test]
fn an_epoch_for_two_nodes() {
    fires(Mutation::EpochIsNotRaised, "N12", "was given to");
}

#[test]
fn a_node_that_is_told_before_the_store() {
    fires(Mutation::NodeComesFirst, "N12", "never held");
}

#[test]
fn a_number_for_two_conferences() {
    fires(Mutation::StoreIgnoresClaims, "N1", "have the number");
}

#[test]
fn a_store_that_forgets_nothing() {
    fires(Mutation::StoreNeverForgets, "N9", "left over");
}

#[test]
fn a_node_that_loses_a_participant() {
    fires(Mutation::NodeLosesLegs, "N3", "runs the legs");
}

#[test]
fn a_node_that_keeps_what_was_deleted() {
    fires(Mutation::NodeKeepsDeleted, "N2", "still runs it");
}

#[test]
fn a_conference_that_is_not_found() {
    fires(Mutation::AnswersNotFound, "N1", "is not there");
}

#[test]
fn a_mute_that_was_not_done() {
    fires(Mutation::MuteIsForgotten, "N4", "shall be muted");
}

#[test]
fn a_leave_that_was_not_done() {
    fires(Mutation::LeaveIsForgotten, "N3", "left or never joined");
}

#[test]
fn a_restore_that_was_not_wanted() {
    fires(Mutation::NoRestoreIsForgotten, "CONF-11", "is not to be restored");
}

#[test]
fn a_create_that_was_done_twice() {
    fires(Mutation::RequestIdIsForgotten, "N5", "and then");
}

#[test]
fn an_end_that_nobody_asked_for() {
    fires(Mutation::EndsByItself, "N1", "nobody asked for it");
}

#[test]
fn a_request_that_is_never_answered() {
    fires(Mutation::ForgetsToAnswer, "liveness", "still waits");
}

#[test]
fn an_ended_conference_that_comes_back() {
    fires(Mutation::EndedComesBack, "N1", "came back");
}
