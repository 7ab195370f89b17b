use super::*;
use proptest::prelude::*;

/// What is queued: socket, port of the destination, bytes of header and payload.
type Datagram = (u32, u16, usize, usize);

fn destination(port: u16) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, 1], port))
}

fn push(queue: &mut Queue, (socket, port, header, payload): Datagram, fill: u8) -> Push {
    let bytes = vec![fill; header];
    queue.push(SocketId(socket), destination(port), (&bytes, &[]), (BYTES.as_ptr(), payload as u32))
}

static BYTES: [u8; 65_536] = [7; 65_536];

/// Groups as the module's comment says, with no regard to chunks.
fn model(datagrams: &[Datagram]) -> Vec<Vec<Datagram>> {
    let size = |d: &Datagram| d.2 + d.3;
    let mut groups: Vec<Vec<Datagram>> = Vec::new();
    for datagram in datagrams {
        let joins = groups.last().is_some_and(|group: &Vec<Datagram>| {
            let all_equal = group.iter().all(|d| size(d) == size(&group[0]));
            let total: usize = group.iter().map(size).sum();
            (group[0].0, group[0].1) == (datagram.0, datagram.1)
                && all_equal
                && (1..=size(&group[0])).contains(&size(datagram))
                && group.len() < SEGMENTS_MAX as usize
                && total + size(datagram) <= MESSAGE_BYTES_MAX as usize
        });
        match groups.last_mut() {
            Some(group) if joins => group.push(*datagram),
            _ => groups.push(vec![*datagram]),
        }
    }
    groups
}

/// Reads the queue back into the groups it made.
fn groups(queue: &Queue) -> Vec<Vec<Datagram>> {
    let one = |message: &Message, part: &Part| {
        let port = message.destination.port();
        (message.socket.0, port, part.header_len as usize, part.payload_len as usize)
    };
    let all = |message: &Message| queue.parts(message).iter().map(|part| one(message, part)).collect();
    queue.messages().iter().map(all).collect()
}

fn datagrams() -> impl Strategy<Value = Vec<Datagram>> {
    let payload = prop_oneof![
        4 => Just(1188usize), 2 => Just(160), 2 => 0usize..4, 1 => 1180usize..1190, 1 => Just(30_000), 1 => Just(65_000)
    ];
    let header = prop_oneof![4 => Just(12usize), 1 => Just(0usize), 1 => 1usize..40];
    let one = (0u32..2, 5000u16..5002, header, payload);
    // Runs, so that joining is common and the limit of 64 is met.
    let run = (one, 1usize..100).prop_map(|(datagram, times)| vec![datagram; times]);
    prop::collection::vec(run, 1..12).prop_map(|runs| runs.concat())
}

proptest! {
    #[test]
    fn messages_are_those_of_the_model(datagrams in datagrams()) {
        let mut queue = Queue::new(true, u32::MAX);
        for datagram in &datagrams {
            prop_assert_eq!(push(&mut queue, *datagram, 0), Push::Queued);
        }
        prop_assert_eq!(groups(&queue), model(&datagrams));
        for message in queue.messages() {
            let sizes: Vec<u32> = queue.parts(message).iter().map(|part| part.header_len + part.payload_len).collect();
            prop_assert_eq!(message.bytes, sizes.iter().sum::<u32>());
            prop_assert!(sizes[..sizes.len() - 1].iter().all(|size| *size == message.segment_bytes));
        }
    }

    #[test]
    fn chunks_lose_and_reorder_nothing(datagrams in datagrams(), gso: bool) {
        let mut queue = Queue::new(gso, u32::MAX);
        let mut sent = Vec::new();
        for datagram in datagrams.iter().cycle().take(3 * CHUNK_PARTS) {
            while push(&mut queue, *datagram, 0) == Push::ChunkFull {
                prop_assert!(!queue.messages().is_empty(), "an empty chunk takes any datagram");
                sent.extend(groups(&queue).concat());
                queue.clear_chunk();
            }
            prop_assert!(queue.messages().len() <= CHUNK_MESSAGES);
        }
        prop_assert!(gso || queue.messages().iter().all(|message| message.parts == 1));
        sent.extend(groups(&queue).concat());
        prop_assert!(sent.iter().eq(datagrams.iter().cycle().take(3 * CHUNK_PARTS)));
    }
}

#[test]
fn headers_lie_where_the_parts_say() {
    let mut queue = Queue::new(true, 100);
    for fill in 1..=3 {
        assert_eq!(push(&mut queue, (1, 5000, 12, 100), fill), Push::Queued);
    }
    let message = queue.messages()[0];
    for (part, fill) in queue.parts(&message).iter().zip(1..) {
        let header = &queue.headers[part.header_offset as usize..][..part.header_len as usize];
        assert_eq!(header, [fill; 12]);
        assert_eq!(part.payload, BYTES.as_ptr());
    }
}

#[test]
fn the_longest_datagram_fits_and_a_longer_one_does_not() {
    let mut queue = Queue::new(true, 100);
    assert_eq!(push(&mut queue, (1, 5000, DATAGRAM_BYTES_MAX, 0), 0), Push::Queued);
    assert_eq!(push(&mut queue, (1, 5000, DATAGRAM_BYTES_MAX, 1), 0), Push::TooLong);
    assert_eq!(queue.messages().len(), 1);
}

#[test]
fn a_turn_takes_no_more_than_its_bound() {
    let mut queue = Queue::new(true, 3);
    let datagram = (1, 5000, 12, 100);
    let pushed: Vec<Push> = (0..4).map(|_| push(&mut queue, datagram, 0)).collect();
    assert_eq!(pushed, [Push::Queued, Push::Queued, Push::Queued, Push::TurnFull]);
    queue.clear_chunk();
    assert_eq!(push(&mut queue, datagram, 0), Push::TurnFull, "a chunk sent early does not lift the bound");
    queue.begin_turn();
    assert_eq!(push(&mut queue, datagram, 0), Push::Queued);
}

#[test]
fn nothing_joins_a_dropped_message() {
    let mut queue = Queue::new(true, 100);
    for _ in 0..2 {
        push(&mut queue, (1, 5000, 12, 100), 0);
    }
    push(&mut queue, (2, 5000, 12, 100), 0);
    assert_eq!(queue.drop_socket(SocketId(1)), 2);
    assert_eq!(queue.drop_socket(SocketId(1)), 0, "counted once");
    push(&mut queue, (1, 5000, 12, 100), 0);
    let dropped: Vec<bool> = queue.messages().iter().map(|message| message.dropped).collect();
    assert_eq!(dropped, [true, false, false]);
}
