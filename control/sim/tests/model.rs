//! Assignment and restore, in every order: Stateright walks through all that can happen in a small world of the
//! real core.

use motet_sim::small::{Budget, Choice, Small};
use stateright::{Checker, Model, Property};

/// A world that begins with this budget.
#[derive(Clone)]
struct Walk(Budget);

impl Model for Walk {
    type State = Small;
    type Action = Choice;

    fn init_states(&self) -> Vec<Small> {
        vec![Small::new(self.0)]
    }

    fn actions(&self, small: &Small, actions: &mut Vec<Choice>) {
        actions.extend(small.choices());
    }

    fn next_state(&self, small: &Small, choice: Choice) -> Option<Small> {
        Some(small.after(choice))
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let mut properties = vec![
            Property::always("never two running assignments with one epoch", |_, small: &Small| {
                small.one_assignment_for_an_epoch()
            }),
            Property::always("an acknowledged conference is never lost", |_, small: &Small| {
                small.acknowledged_is_there()
            }),
            Property::always("a request makes one conference", |_, small: &Small| small.acknowledged_once()),
            Property::always("an ended one stays ended", |_, small: &Small| small.ended_stays_ended()),
        ];
        // What was never reached was never checked.
        if self.0.restarts > 0 {
            properties.push(Property::sometimes("it was restored", |_, small: &Small| small.was_restored()));
        }
        if self.0.takeovers > 0 {
            properties
                .push(Property::sometimes("it was taken over", |_, small: &Small| small.was_taken_over()));
        }
        if self.0.ends > 0 {
            properties.push(Property::sometimes("it has ended", |_, small: &Small| small.has_ended()));
        }
        properties
    }
}

const NONE: Budget = Budget { losses: 0, restarts: 0, creates: 1, ends: 0, kills: 0, takeovers: 0, ticks: 0 };

/// Walks through everything; gives how many states there are.
#[track_caller]
fn walk(budget: Budget) -> usize {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    // Depth first: what waits to be looked at is then a few worlds, not half of all.
    let checker = Walk(budget).checker().threads(cores).spawn_dfs().join();
    println!("{budget:?}: {} states, {} steps deep", checker.unique_state_count(), checker.max_depth());
    checker.assert_properties();
    checker.unique_state_count()
}

#[test]
fn a_process_that_loses_answers() {
    assert!(walk(Budget { losses: 2, creates: 2, ends: 1, ..NONE }) > 1_000);
}

#[test]
fn a_node_that_loses_its_memory() {
    assert!(walk(Budget { restarts: 1, ends: 1, ticks: 1, ..NONE }) > 1_000);
}

#[test]
fn two_processes_that_do_not_see_each_other() {
    assert!(walk(Budget { ends: 1, takeovers: 1, ..NONE }) > 5_000);
}

#[test]
fn a_process_that_takes_over_from_a_dead_one() {
    assert!(walk(Budget { kills: 1, takeovers: 1, ..NONE }) > 500);
}

#[test]
#[ignore = "takes minutes; `make sim` runs it"]
fn a_node_and_answers_are_lost_at_once() {
    assert!(walk(Budget { losses: 1, restarts: 1, ends: 1, ticks: 1, ..NONE }) > 40_000);
}

#[test]
#[ignore = "takes minutes; `make sim` runs it"]
fn two_processes_and_a_node_that_loses_its_memory() {
    assert!(walk(Budget { restarts: 1, takeovers: 1, ..NONE }) > 30_000);
}

#[test]
#[ignore = "takes minutes; `make sim` runs it"]
fn answers_are_lost_on_the_way_to_a_successor() {
    assert!(walk(Budget { losses: 1, kills: 1, takeovers: 1, ..NONE }) > 30_000);
}
