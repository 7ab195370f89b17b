//! Packets from one worker to another: what trunks carry.
//!
//! In one turn a worker packs all that crosses to another one into a *parcel*: one copy of each packet, or of
//! each run of packets, however many receivers wait for it there. At the end of the turn the parcel goes into
//! the other worker's inbox and its bell is rung, once until it has come to look. The receiver sends out of the
//! parcel's memory and then gives the empty parcel back to its sender, so that nothing allocates once enough
//! parcels have been made.
//!
//! A mixing thread comes by itself, every few milliseconds. For it a parcel lies open at the end of a turn: whoever comes
//! first has it, the receiver to empty it or the sender to pack more into it. So it finds one parcel of each sender,
//! with all that came until then, and nobody rings.
//!
//! Everything is bounded: from one worker to another at most [`PARCELS_MAX`] parcels of [`PARCEL_BYTES`] are on
//! the way. What does not fit is dropped and counted; no worker ever waits for another.

use crate::plan::TrunkEnd;
use crossbeam_queue::ArrayQueue;
use motet_net::Waker;
use motet_relay::PortId;
use motet_rtp::Time;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::Thread;
use std::time::Duration;

/// Bytes of a parcel: the longest run of packets fits, and some hundred packets of a picture.
pub const PARCEL_BYTES: usize = 128 * 1024;
/// Parcels from one worker to another that are on the way, or not yet given back.
pub const PARCELS_MAX: usize = 32;
/// Parcels that one worker may have made in all, and that may wait for one: all of 32 workers.
const PARCELS_OF_WORKER_MAX: usize = 32 * PARCELS_MAX;
/// Runs of packets of a parcel.
pub const RUNS_MAX: usize = 1_024;

/// Datagrams of one trunk that follow each other, all but the last of one size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// Port of the near end, on the sender's worker.
    pub from: PortId,
    /// Port of the far end.
    pub to: PortId,
    /// First byte in the parcel.
    pub offset: u32,
    /// Number of bytes.
    pub len: u32,
    /// Size of each datagram but the last.
    pub segment_bytes: u32,
    /// When it came, if it came to that worker; else when the sender's turn was in which it was packed.
    pub at: Time,
}

impl Run {
    /// Number of datagrams.
    pub fn datagrams(&self) -> u64 {
        u64::from(self.len.div_ceil(self.segment_bytes))
    }

    /// What follows makes it a longer run: all before is whole, and what comes is of the same size or one
    /// shorter datagram.
    fn goes_on_with(&self, len: u32, segment_bytes: u32, at: Time) -> bool {
        let ends_it = len <= segment_bytes && len < self.segment_bytes;
        self.at == at
            && self.len.is_multiple_of(self.segment_bytes)
            && (segment_bytes == self.segment_bytes || ends_it)
    }
}

/// What crosses from one worker to another in one turn, or a part of it.
#[derive(Debug, Default)]
pub struct Parcel {
    sender: usize,
    receiver: usize,
    /// Of all that its sender packs.
    number: u64,
    /// All datagrams, one after another. The receiver may take them out; they must be back when it gives the
    /// parcel back.
    pub bytes: Vec<u8>,
    /// In the order in which they were sent.
    pub runs: Vec<Run>,
}

impl Parcel {
    /// Worker that packed it.
    pub fn sender(&self) -> usize {
        self.sender
    }
}

/// What crossed, from one worker's view. Monotonic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Crossed {
    /// Datagrams packed for other workers: each counts once for each worker that it goes to.
    pub packets_out: u64,
    /// Bytes of these.
    pub bytes_out: u64,
    /// Datagrams that came from other workers.
    pub packets_in: u64,
    /// Parcels packed.
    pub parcels: u64,
    /// Times that another worker was woken.
    pub rings: u64,
    /// Datagrams dropped since too much was on the way to the other worker.
    pub dropped_full: u64,
    /// Datagrams dropped since their trunk was closed on their way.
    pub dropped_closed: u64,
}

/// How somebody is woken who has mail.
#[derive(Clone, Debug)]
pub enum Bell {
    /// A worker, which waits for its sockets.
    Waker(Waker),
    /// A thread that is parked.
    Thread(Thread),
}

impl Bell {
    fn ring(&self) {
        match self {
            Bell::Waker(waker) => waker.wake(),
            Bell::Thread(thread) => thread.unpark(),
        }
    }
}

/// How long what was promised for a look is waited for.
const OWED_MAX: Duration = Duration::from_millis(10);

/// Where the parcels of all workers meet.
#[derive(Debug)]
pub struct Exchange {
    stations: Vec<Station>,
}

/// A worker's place.
#[derive(Debug)]
struct Station {
    inbox: ArrayQueue<Parcel>,
    /// Its own parcels, coming back.
    empty: ArrayQueue<Parcel>,
    /// It was told of what is in the inbox and has not come to look yet.
    told: AtomicBool,
    bell: OnceLock<Bell>,
    /// It comes every few milliseconds, whether or not there is something for it: the open parcels, by sender.
    open: OnceLock<Box<[ArrayQueue<Parcel>]>>,
    /// When it comes next for what is urgent, in nanoseconds; 0: nobody knows.
    comes_at: AtomicU64,
    /// The look before which it hands over what came for it, in nanoseconds; 0: it has, or does not wait for one.
    brings_for: AtomicU64,
}

impl Exchange {
    /// For so many workers, at least 1.
    pub fn new(workers: usize) -> Arc<Exchange> {
        let room = (PARCELS_MAX * workers).min(PARCELS_OF_WORKER_MAX);
        let station = || Station {
            inbox: ArrayQueue::new(room),
            empty: ArrayQueue::new(room),
            told: AtomicBool::new(false),
            bell: OnceLock::new(),
            open: OnceLock::new(),
            comes_at: AtomicU64::new(0),
            brings_for: AtomicU64::new(0),
        };
        Arc::new(Exchange { stations: std::iter::repeat_with(station).take(workers).collect() })
    }

    /// For so many.
    pub(crate) fn stations(&self) -> usize {
        self.stations.len()
    }

    /// How a worker is woken. Without a bell it must look by itself.
    pub fn set_bell(&self, worker: usize, bell: Bell) {
        let _ = self.stations[worker].bell.set(bell);
    }

    /// A station comes every few milliseconds by itself, needs no bell, and would rather find few parcels than many.
    pub fn set_looks(&self, station: usize) {
        self.stations[station].open.get_or_init(|| {
            std::iter::repeat_with(|| ArrayQueue::new(1)).take(self.stations.len()).collect()
        });
    }

    /// Gives an empty parcel back to its sender.
    fn give_back(&self, mut parcel: Parcel) {
        parcel.bytes.clear();
        parcel.runs.clear();
        let returned = self.stations[parcel.sender].empty.push(parcel);
        debug_assert!(returned.is_ok(), "there is room for every parcel that was made");
    }
}

/// One worker's side of the exchange: its trunks, what it packs, and what came for it.
#[derive(Debug)]
pub struct Desk {
    worker: usize,
    exchange: Arc<Exchange>,
    /// The other ends of trunks, by port here.
    ends: Vec<Option<TrunkEnd>>,
    /// How many trunks are open to each station.
    joined: Vec<usize>,
    /// Being packed, by receiver.
    packing: Vec<Option<Parcel>>,
    /// On the way to each receiver, or not yet given back.
    away: Vec<usize>,
    /// Empty ones, ready to be packed.
    ready: Vec<Parcel>,
    /// Parcels in all.
    made: usize,
    /// Parcels begun.
    begun: u64,
    /// What was found at the last look, in order, by a station that looks by itself.
    found: VecDeque<Parcel>,
    /// When what is packed came.
    now: Time,
    crossed: Crossed,
}

impl Desk {
    /// The desk of one worker.
    pub fn new(worker: usize, exchange: Arc<Exchange>) -> Desk {
        let workers = exchange.stations.len();
        Desk {
            worker,
            ends: Vec::new(),
            joined: vec![0; workers],
            packing: std::iter::repeat_with(|| None).take(workers).collect(),
            away: vec![0; workers],
            ready: Vec::with_capacity(exchange.stations[worker].empty.capacity()),
            made: 0,
            begun: 0,
            found: VecDeque::with_capacity(PARCELS_MAX),
            now: Time::ZERO,
            crossed: Crossed::default(),
            exchange,
        }
    }

    /// Opens the end of a trunk here.
    pub fn open(&mut self, end: TrunkEnd) {
        let index = end.port.0 as usize;
        if self.ends.len() <= index {
            self.ends.resize(index + 1, None);
        }
        self.joined[end.worker] += 1;
        if let Some(before) = self.ends[index].replace(end) {
            self.joined[before.worker] -= 1;
        }
    }

    /// Closes the end of a trunk. What is on the way to it will be dropped and counted.
    pub fn close(&mut self, port: PortId) {
        if let Some(end) = self.ends.get_mut(port.0 as usize).and_then(Option::take) {
            self.joined[end.worker] -= 1;
        }
    }

    /// The other end of the trunk at a port; none: the port is no trunk's.
    #[inline]
    pub fn end(&self, port: PortId) -> Option<TrunkEnd> {
        *self.ends.get(port.0 as usize)?
    }

    /// Says when this station, which comes by itself, will look next and use what it finds. None: who knows.
    pub fn expect_look(&self, at: Option<Time>) {
        let at = at.map_or(0, Time::as_nanos);
        self.exchange.stations[self.worker].comes_at.store(at, Ordering::Relaxed);
    }

    /// When the next of those looks that this station has trunks to and that come by themselves. None: nobody knows, or
    /// one of them has not said, is about to look, or at work, and what it makes should not wait.
    pub fn next_look(&self, now: Time) -> Option<Time> {
        let mut next: Option<u64> = None;
        for (station, _) in self.exchange.stations.iter().zip(&self.joined).filter(|(_, trunks)| **trunks > 0)
        {
            match station.comes_at.load(Ordering::Relaxed) {
                0 if station.open.get().is_none() => {}
                0 => return None,
                at if at <= now.as_nanos() => return None,
                at => next = Some(next.map_or(at, |next| next.min(at))),
            }
        }
        next.map(Time::from_nanos)
    }

    /// This station sleeps and hands over what comes meanwhile shortly before this look. None: nothing is kept back.
    pub fn promise(&self, look: Option<Time>) {
        let look = look.map_or(0, Time::as_nanos);
        self.exchange.stations[self.worker].brings_for.store(look, Ordering::Release);
    }

    /// Somebody whom this station has trunks to is late with what was promised for a look that has just come. A promise
    /// that is older is no longer waited for: the worker is held up.
    pub fn is_owed(&self, now: Time) -> bool {
        let stations = self.exchange.stations.iter().zip(&self.joined).filter(|(_, trunks)| **trunks > 0);
        let passed = |promised| now.as_nanos().checked_sub(promised).map(Duration::from_nanos);
        let owed = |promised| promised > 0 && passed(promised).is_some_and(|passed| passed < OWED_MAX);
        stations.into_iter().any(|(station, _)| owed(station.brings_for.load(Ordering::Acquire)))
    }

    /// What is packed from now on came at this time.
    pub fn begin(&mut self, now: Time) {
        self.now = now;
    }

    /// Somebody who comes by itself gets what is packed for this end.
    pub fn is_looked_for(&self, end: TrunkEnd) -> bool {
        self.exchange.stations[end.worker].open.get().is_some()
    }

    /// Packs datagrams, `header` followed by `payload`, all but the last of `segment_bytes`.
    /// Nothing is packed of nothing.
    pub fn pack(&mut self, end: TrunkEnd, header: &[u8], payload: &[u8], segment_bytes: u32) {
        let len = (header.len() + payload.len()) as u32;
        if len == 0 {
            return;
        }
        let datagrams = u64::from(len.div_ceil(segment_bytes.max(1)));
        let at = self.now;
        let Some(parcel) = self.parcel_for(end.worker, len as usize) else {
            self.crossed.dropped_full += datagrams;
            return;
        };
        let offset = parcel.bytes.len() as u32;
        parcel.bytes.extend_from_slice(header);
        parcel.bytes.extend_from_slice(payload);
        match parcel.runs.last_mut() {
            Some(last) if last.to == end.peer && last.goes_on_with(len, segment_bytes, at) => {
                last.len += len;
            }
            _ => parcel.runs.push(Run { from: end.port, to: end.peer, offset, len, segment_bytes, at }),
        }
        self.crossed.packets_out += datagrams;
        self.crossed.bytes_out += u64::from(len);
    }

    /// Hands over what was packed, at the end of a turn, or lays it open for who comes by itself.
    pub fn flush(&mut self) {
        for receiver in 0..self.packing.len() {
            let Some(parcel) = self.packing[receiver].take() else { continue };
            match self.exchange.stations[receiver].open.get() {
                Some(open) => {
                    let laid = open[self.worker].push(parcel);
                    assert!(laid.is_ok(), "what lay open was taken up again before more was packed");
                }
                None => self.hand_over(parcel),
            }
        }
    }

    /// Takes in the parcels that came back empty.
    fn take_back(&mut self) {
        while let Some(parcel) = self.exchange.stations[self.worker].empty.pop() {
            self.away[parcel.receiver] -= 1;
            self.ready.push(parcel);
        }
    }

    /// Says that this worker comes to look: whoever puts something in from now on rings. To be called before
    /// [`Desk::take`], once a turn. Who comes by itself finds in this moment what it then takes.
    pub fn look(&mut self) {
        let Station { told, open, inbox, .. } = &self.exchange.stations[self.worker];
        if told.load(Ordering::Relaxed) {
            // Ordered before the looks into the inbox, as the sender's is after it filled the inbox.
            told.swap(false, Ordering::SeqCst);
        }
        let Some(open) = open.get() else { return };
        self.found.extend(open.iter().filter_map(ArrayQueue::pop));
        // What was packed before an open parcel was handed over before it, so that it is in the inbox now.
        while let Some(parcel) = inbox.pop() {
            self.found.push_back(parcel);
        }
        self.found.make_contiguous().sort_unstable_by_key(|parcel| (parcel.sender, parcel.number));
    }

    /// The next parcel for this worker. To be given back by [`Desk::give_back`], in any order.
    pub fn take(&mut self) -> Option<Parcel> {
        let mut parcel = self.take_unopened()?;
        let (sender, ends) = (parcel.sender, &self.ends);
        let crossed = &mut self.crossed;
        parcel.runs.retain(|run| {
            let datagrams = run.datagrams();
            let end = ends.get(run.to.0 as usize).copied().flatten();
            let open = end.is_some_and(|end| (end.worker, end.peer) == (sender, run.from));
            *(if open { &mut crossed.packets_in } else { &mut crossed.dropped_closed }) += datagrams;
            open
        });
        Some(parcel)
    }

    /// The same, whether or not its trunks are open here, and not counted: for who hands it on to somebody who knows.
    pub fn take_unopened(&mut self) -> Option<Parcel> {
        let station = &self.exchange.stations[self.worker];
        match station.open.get() {
            Some(_) => self.found.pop_front(),
            None => station.inbox.pop(),
        }
    }

    /// Something waits to be taken.
    pub fn has_mail(&self) -> bool {
        !self.exchange.stations[self.worker].inbox.is_empty()
    }

    /// Gives a parcel back to its sender, with its bytes in it.
    pub fn give_back(&self, parcel: Parcel) {
        self.exchange.give_back(parcel);
    }

    /// What crossed so far.
    pub fn crossed(&self) -> Crossed {
        self.crossed
    }

    /// The parcel that is being packed, with room for `len` bytes; none: too much is on the way.
    fn parcel_for(&mut self, receiver: usize, len: usize) -> Option<&mut Parcel> {
        let full = |parcel: &Parcel| parcel.bytes.len() + len > PARCEL_BYTES || parcel.runs.len() == RUNS_MAX;
        if self.packing[receiver].is_none() {
            let open = self.exchange.stations[receiver].open.get();
            self.packing[receiver] = open.and_then(|open| open[self.worker].pop());
        }
        if let Some(parcel) = self.packing[receiver].take_if(|parcel| full(parcel)) {
            self.hand_over(parcel);
        }
        if self.packing[receiver].is_none() {
            if len > PARCEL_BYTES {
                return None;
            }
            self.packing[receiver] = Some(self.fresh(receiver)?);
        }
        self.packing[receiver].as_mut()
    }

    fn fresh(&mut self, receiver: usize) -> Option<Parcel> {
        self.take_back();
        if self.away[receiver] == PARCELS_MAX {
            return None;
        }
        let mut parcel = match self.ready.pop() {
            Some(parcel) => parcel,
            None if self.made == self.exchange.stations[self.worker].empty.capacity() => return None,
            None => {
                self.made += 1;
                let bytes = Vec::with_capacity(PARCEL_BYTES);
                Parcel { bytes, runs: Vec::with_capacity(RUNS_MAX), ..Parcel::default() }
            }
        };
        self.away[receiver] += 1;
        self.begun += 1;
        self.crossed.parcels += 1;
        (parcel.sender, parcel.receiver, parcel.number) = (self.worker, receiver, self.begun);
        Some(parcel)
    }

    fn hand_over(&mut self, parcel: Parcel) {
        let station = &self.exchange.stations[parcel.receiver];
        // With more than 32 workers an inbox may be full of others' parcels.
        if let Err(mut parcel) = station.inbox.push(parcel) {
            let datagrams = parcel.runs.iter().map(Run::datagrams).sum::<u64>();
            self.crossed.packets_out -= datagrams;
            self.crossed.bytes_out -= parcel.bytes.len() as u64;
            self.crossed.dropped_full += datagrams;
            self.crossed.parcels -= 1;
            self.away[parcel.receiver] -= 1;
            parcel.bytes.clear();
            parcel.runs.clear();
            self.ready.push(parcel);
            return;
        }
        if !station.told.swap(true, Ordering::SeqCst) {
            self.crossed.rings += 1;
            if let Some(bell) = station.bell.get() {
                bell.ring();
            }
        }
    }
}
