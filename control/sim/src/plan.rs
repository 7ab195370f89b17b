//! What a world is made of and what goes wrong in it, drawn from its seed.

use crate::checks::Mutation;
use crate::message::Who;
use crate::network::{CALM, Manner};
use crate::random::Random;
use motet_control::conference::Options;
use std::fmt;

/// Something that goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// kill -9; all that a node held is gone, and another start of it comes.
    Kill(Who),
    /// SIGSTOP, and SIGCONT when it is over.
    Stop(Who),
    /// A node ends in good order and starts again.
    Leave(usize),
    /// A node is asked to drain, and not to when it is over.
    Drain(usize),
    /// Nothing passes from the first to the second.
    CutOneWay(Who, Who),
    /// Nothing passes between the two.
    Cut(Who, Who),
    /// All links behave like this.
    Noise(Manner),
    /// The store does not answer.
    StoreDown,
    /// The store answers after so many milliseconds.
    StoreSlow(u64),
    /// The replica becomes the store, which answers nothing until it is over.
    StoreSwitchover,
    /// The wall clock of a control process jumps by so many seconds, for good.
    ClockJump(usize, i64),
}

/// A fault with its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Planned {
    /// When it begins, in virtual milliseconds.
    pub at_ms: u64,
    /// How long it lasts.
    pub for_ms: u64,
    /// What it is.
    pub fault: Fault,
}

/// Something that an application asks for at a given time, besides what applications ask for at random.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// When, in virtual milliseconds.
    pub at_ms: u64,
    /// Which conference of the script, from 0: the first create makes the first.
    pub conference: usize,
    /// What.
    pub what: Ordered,
}

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ordered {
    /// Create it with this number.
    Create(&'static str),
    /// The same; it is not to be restored.
    CreateUnrestored(&'static str),
    /// Add a participant.
    Join(&'static str),
    /// Remove a participant.
    Leave(&'static str),
    /// Mute a participant, or no longer.
    Mute(&'static str, bool),
    /// Read it.
    Get,
    /// End it.
    End,
}

/// A whole world.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// Draws everything that is left open.
    pub seed: u64,
    /// Control processes.
    pub css: usize,
    /// Media nodes.
    pub nodes: usize,
    /// Applications.
    pub clients: usize,
    /// Living conferences that applications make at most.
    pub conferences_max: usize,
    /// Longest pause of an application between two requests.
    pub rest_ms_max: u64,
    /// The store is one of several control processes (Redis): they follow it, and maintain by lease.
    pub shared: bool,
    /// How far the store's replica is behind.
    pub store_lag_ms: u64,
    /// A write is answered when the replica has it, too (`WAIT`): nothing that was acknowledged is lost.
    pub store_wait: bool,
    /// One in so many conferences that applications make is not to be restored; 0: none is.
    pub unrestored_one_in: u32,
    /// What is asked for at given times.
    pub script: Vec<Order>,
    /// What goes wrong.
    pub faults: Vec<Planned>,
    /// How links behave while things go wrong.
    pub manner: Manner,
    /// Applications begin.
    pub load_from_ms: u64,
    /// All faults are over, and applications ask for nothing new.
    pub calm_from_ms: u64,
    /// How long after that all must be well.
    pub quiet_ms: u64,
    /// Options of control.
    pub control: Options,
    /// A world that is wrong on purpose.
    pub mutation: Option<Mutation>,
}

/// How long an ended conference is remembered in these worlds: longer than any fault of theirs.
const TOMBSTONE_MS: i64 = 40_000;

impl Plan {
    /// A world without faults.
    pub fn calm(seed: u64) -> Plan {
        Plan {
            seed,
            css: 1,
            nodes: 3,
            clients: 3,
            conferences_max: 6,
            rest_ms_max: 400,
            shared: false,
            store_lag_ms: 0,
            store_wait: false,
            unrestored_one_in: 0,
            script: Vec::new(),
            faults: Vec::new(),
            manner: CALM,
            load_from_ms: 1_500,
            calm_from_ms: 20_000,
            quiet_ms: 30_000,
            control: Options { tombstone_ms: TOMBSTONE_MS, ..Options::default() },
            mutation: None,
        }
    }

    /// The world of a seed: how many of each, which faults, how rough the network is.
    pub fn draw(seed: u64) -> Plan {
        let mut random = Random::new(seed);
        let mut plan = Plan::calm(seed);
        if random.permille(600) {
            plan.shared = true;
            plan.css = random.between(1, 3) as usize;
            plan.store_lag_ms = *random.pick(&[0, 0, 50, 300, 2_000]);
            plan.store_wait = plan.store_lag_ms < 1_000 && random.permille(500);
        }
        plan.nodes = random.between(1, 4) as usize;
        plan.clients = random.between(1, 4) as usize;
        plan.conferences_max = random.between(1, 8) as usize;
        plan.rest_ms_max = *random.pick(&[50, 400, 1_500]);
        plan.calm_from_ms = random.between(10_000, 40_000);
        if random.permille(500) {
            plan.manner = rough(&mut random);
        }
        for _ in 0..*random.pick(&[0, 1, 1, 2, 2, 3, 5, 8]) {
            let at_ms = random.between(500, plan.calm_from_ms - 1_000);
            let for_ms = *random.pick(&[50, 200, 800, 2_500, 4_000, 6_000, 10_000]);
            let fault = plan.any_fault(&mut random);
            plan.faults.push(Planned { at_ms, for_ms, fault });
        }
        plan.faults.sort_by_key(|planned| planned.at_ms);
        plan.unrestored_one_in = *random.pick(&[0, 0, 2, 5]);
        plan.control.list_page = *random.pick(&[1, 2, 128]);
        plan
    }

    /// What a control process of this world is told to hold to.
    pub(crate) fn options_of(&self, css: usize) -> Options {
        let name = Who::Css(css).to_string();
        Options { shared: self.shared, css: name.clone(), css_address: name, ..self.control.clone() }
    }

    /// A world without applications of its own, in which only this happens.
    pub fn scripted(script: Vec<Order>, faults: Vec<Planned>) -> Plan {
        Plan { clients: 0, nodes: 2, script, faults, ..Plan::calm(1) }
    }

    fn any_fault(&self, random: &mut Random) -> Fault {
        let node = random.index(self.nodes);
        let css = random.index(self.css);
        let (a, b) = match random.below(10) {
            0 if self.css > 1 => (Who::Css(css), Who::Css(random.index(self.css))),
            0..6 => (Who::Css(css), Who::Node(node)),
            6..8 => (Who::Css(css), Who::Store),
            8 => (Who::Node(node), Who::Node(random.index(self.nodes))),
            _ => (Who::Css(css), Who::Client(random.index(self.clients))),
        };
        match random.below(20) {
            0..3 => Fault::Kill(Who::Node(node)),
            3..6 => Fault::Kill(Who::Css(css)),
            6..8 => Fault::Stop(Who::Node(node)),
            8 => Fault::Stop(Who::Css(css)),
            9..12 => Fault::Cut(a, b),
            12 => Fault::CutOneWay(a, b),
            13 => Fault::CutOneWay(b, a),
            14 => Fault::Noise(rough(random)),
            15 => Fault::StoreDown,
            16 => Fault::StoreSlow(*random.pick(&[50, 500, 950, 1_500])),
            17 => Fault::StoreSwitchover,
            18 => Fault::ClockJump(css, *random.pick(&[3_600, -3_600])),
            _ if random.permille(500) => Fault::Leave(node),
            _ => Fault::Drain(node),
        }
    }
}

fn rough(random: &mut Random) -> Manner {
    Manner {
        lost_permille: *random.pick(&[0, 10, 50, 200]),
        twice_permille: *random.pick(&[0, 50, 300]),
        delay_ms_min: *random.pick(&[1, 5, 20]),
        delay_ms_max: *random.pick(&[30, 200, 1_200]),
    }
}

impl fmt::Display for Planned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Planned { at_ms, for_ms, fault } = self;
        write!(f, "at {:.3} s for {:.3} s: {fault}", *at_ms as f64 / 1e3, *for_ms as f64 / 1e3)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Kill(who) => write!(f, "{who} is killed"),
            Fault::Stop(who) => write!(f, "{who} is stopped"),
            Fault::Leave(node) => write!(f, "{} ends in good order", Who::Node(*node)),
            Fault::Drain(node) => write!(f, "{} drains", Who::Node(*node)),
            Fault::CutOneWay(from, to) => write!(f, "nothing passes from {from} to {to}"),
            Fault::Cut(a, b) => write!(f, "nothing passes between {a} and {b}"),
            Fault::Noise(manner) => write!(f, "the network is rough, {manner}"),
            Fault::StoreDown => write!(f, "the store is down"),
            Fault::StoreSlow(ms) => write!(f, "the store takes {ms} ms"),
            Fault::StoreSwitchover => write!(f, "the store's replica takes over"),
            Fault::ClockJump(css, seconds) => write!(f, "the clock of {} jumps {seconds} s", Who::Css(*css)),
        }
    }
}

impl fmt::Display for Manner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Manner { lost_permille, twice_permille, delay_ms_min, delay_ms_max } = self;
        write!(f, "{lost_permille} ‰ lost, {twice_permille} ‰ twice, {delay_ms_min} to {delay_ms_max} ms")
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Plan { seed, css, nodes, clients, calm_from_ms, store_lag_ms, manner, .. } = self;
        let unrestored = match self.unrestored_one_in {
            0 => String::new(),
            n => format!("; one conference in {n} is not to be restored"),
        };
        let waited = if self.store_wait { ", waited for" } else { "" };
        let shared = if self.shared { "shared" } else { "own" };
        let calm_s = *calm_from_ms as f64 / 1e3;
        writeln!(
            f,
            "seed {seed}: {css} control, {nodes} nodes, {clients} applications, calm from {calm_s} s"
        )?;
        write!(
            f,
            "  network: {manner}; {shared} store, replica {store_lag_ms} ms behind{waited}{unrestored}"
        )?;
        for planned in &self.faults {
            write!(f, "\n  {planned}")?;
        }
        Ok(())
    }
}
