//! What must hold when all faults are over, as far as clients of control and of nodes can see it.
//!
//! - N1: each acknowledged conference that was not ended is listed by each control process, runs, and has its number.
//! - N2: exactly one node holds it, the one that control names, under the same epoch.
//! - N3: everyone who joined and did not leave is there once, and is heard; nobody else is.
//! - N4: its name and lock are as last acknowledged.
//! - N5: what was acknowledged was done; what was refused was not; nothing that nobody asked for is there.
//! - N9: no node holds what is not listed.
//! - N12: no epoch ever went back.

use crate::ledger::{Expected, Ledger};
use motet_proto::conference::{ConferenceInfo, ConferenceState};
use motet_proto::node::RunningConference;
use std::collections::{BTreeMap, BTreeSet};

/// What control processes and nodes say, by name.
#[derive(Clone, Debug, Default)]
pub struct Views {
    /// Living conferences, as each control process lists them.
    pub css: BTreeMap<String, Vec<ConferenceInfo>>,
    /// What each node runs.
    pub nodes: BTreeMap<String, Vec<RunningConference>>,
}

/// Everything that is not as it must be, a sentence each.
pub fn violations(ledger: &Ledger, views: &Views) -> Vec<String> {
    let mut found = ledger.wrong.clone();
    for (css, list) in &views.css {
        check_list(css, ledger, list, &mut found);
    }
    // There may be ten thousand.
    let mut homes: BTreeMap<&str, Home<'_>> = BTreeMap::new();
    for (node, copy) in
        views.nodes.iter().flat_map(|(node, running)| running.iter().map(move |copy| (node, copy)))
    {
        homes.entry(&copy.id).or_default().copies.push((node, copy));
    }
    for (css, info) in views.css.iter().flat_map(|(css, list)| list.iter().map(move |info| (css, info))) {
        homes.entry(&info.id).or_default().listed.push((css, info));
    }
    let nowhere = Home::default();
    for (id, expected) in ledger.living() {
        check_home(id, expected, homes.get(id.as_str()).unwrap_or(&nowhere), &mut found);
    }
    for (id, home) in homes.iter().filter(|(_, home)| home.listed.is_empty()) {
        let holders = home.copies.iter().map(|(node, _)| node);
        found.extend(
            holders.map(|node| format!("N9: node {node} holds {id}, which no control process lists")),
        );
    }
    found
}

/// Who says what of one conference.
#[derive(Default)]
struct Home<'a> {
    /// By node.
    copies: Vec<(&'a String, &'a RunningConference)>,
    /// By control process.
    listed: Vec<(&'a String, &'a ConferenceInfo)>,
}

fn check_list(css: &str, ledger: &Ledger, list: &[ConferenceInfo], found: &mut Vec<String>) {
    let listed: BTreeMap<&str, &ConferenceInfo> = list.iter().map(|info| (info.id.as_str(), info)).collect();
    if listed.len() != list.len() {
        found.push(format!("N5: {css} lists a conference twice"));
    }
    for (id, expected) in ledger.living() {
        match listed.get(id.as_str()) {
            Some(info) => check_info(css, expected, info, found),
            None => found.push(format!("N1: {css} does not list {id}, which was acknowledged")),
        }
    }
    for info in list {
        match ledger.conferences.get(&info.id) {
            Some(expected) if expected.ended => {
                found.push(format!("N1: {css} lists {}, whose end was acknowledged", info.id));
            }
            None if !ledger.unsure.contains(&info.name) => {
                found.push(format!(
                    "N5: {css} lists {} ({}), which was never acknowledged",
                    info.id, info.name
                ));
            }
            _ => {}
        }
    }
}

fn check_info(css: &str, expected: &Expected, info: &ConferenceInfo, found: &mut Vec<String>) {
    let id = &info.id;
    if info.state() != ConferenceState::Running {
        found.push(format!("N1: {css} says that {id} is {:?}: {}", info.state(), info.reason));
    }
    if info.number != expected.number {
        found.push(format!("N1: {css} says that {id} has number {}, not {}", info.number, expected.number));
    }
    if info.epoch < expected.epoch {
        found.push(format!("N12: {css} says epoch {} of {id} after {}", info.epoch, expected.epoch));
    }
    if !expected.names.contains(&info.name) || !expected.locks.contains(&info.locked) {
        found.push(format!("N4: {css} says that {id} is '{}', locked {}", info.name, info.locked));
    }
    let there: BTreeSet<&str> = info.participants.iter().map(|someone| someone.id.as_str()).collect();
    let missing = expected.people.keys().filter(|who| !there.contains(who.as_str()));
    found.extend(missing.map(|who| format!("N3: {css} says that {who} is not in {id}")));
    for someone in &info.participants {
        let who = &someone.id;
        if !expected.people.contains_key(who) && !expected.unsure.contains(who) {
            found.push(format!("N3: {css} says that {who} is in {id}, who did not join or has left"));
        }
    }
}

/// Participants whose packets flow, and of whom a control process says that nothing comes.
pub fn shown_silent(ledger: &Ledger, views: &Views) -> Vec<String> {
    let listed = views.css.iter().flat_map(|(css, list)| list.iter().map(move |info| (css, info)));
    let silent = listed.flat_map(|(css, info)| {
        let expected = ledger.conferences.get(&info.id);
        let joined = move |who: &str| expected.is_some_and(|expected| expected.people.contains_key(who));
        let silent = info.participants.iter().filter(move |someone| !someone.alive && joined(&someone.id));
        silent.map(move |someone| format!("{css} says that nothing comes from {} in {}", someone.id, info.id))
    });
    silent.collect()
}

fn check_home(id: &str, expected: &Expected, home: &Home<'_>, found: &mut Vec<String>) {
    let copies = &home.copies;
    let [(node, copy)] = copies[..] else {
        let holders: Vec<_> =
            copies.iter().map(|(node, copy)| format!("{node} epoch {}", copy.epoch)).collect();
        found.push(format!("N2: {id} is held by {} nodes: {}", copies.len(), holders.join(", ")));
        return;
    };
    for (css, info) in &home.listed {
        if (&info.node_id, info.epoch) != (node, copy.epoch) {
            let (at, epoch) = (&info.node_id, info.epoch);
            found.push(format!(
                "N2: {css} says that {id} is on {at}, epoch {epoch}; {node} has it, epoch {}",
                copy.epoch
            ));
        }
    }
    let legs: BTreeSet<&String> = copy.legs.iter().collect();
    let missing = expected.people.keys().filter(|who| !legs.contains(who));
    found.extend(missing.map(|who| format!("N3: {node} has no leg for {who} in {id}")));
}

#[cfg(test)]
mod tests;
