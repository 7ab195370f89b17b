//! Ogg as far as a file of one Opus stream needs it (RFC 3533, RFC 7845).

/// The packets of the audio: those after the two of the header.
pub fn packets(file: &[u8]) -> Vec<Vec<u8>> {
    let (mut packets, mut packet, mut rest) = (Vec::new(), Vec::new(), file);
    while !rest.is_empty() {
        assert_eq!(&rest[..4], b"OggS", "a page starts");
        let segments = usize::from(rest[26]);
        let (lacing, mut body) = rest[27..].split_at(segments);
        for bytes in lacing {
            let (segment, after) = body.split_at(usize::from(*bytes));
            packet.extend_from_slice(segment);
            body = after;
            if *bytes < 255 {
                packets.push(std::mem::take(&mut packet));
            }
        }
        rest = body;
    }
    assert!(packets[0].starts_with(b"OpusHead") && packets[1].starts_with(b"OpusTags"));
    packets.split_off(2)
}

/// A file of packets of 20 ms, with nothing to be skipped at the start.
pub fn file(channels: u8, packets: &[Vec<u8>]) -> Vec<u8> {
    let mut head = b"OpusHead\x01".to_vec();
    head.extend([channels, 0, 0]);
    head.extend(48_000_u32.to_le_bytes());
    head.extend([0, 0, 0]);
    let tags = b"OpusTags\x05\0\0\0motet\0\0\0\0".to_vec();
    let mut file = page(2, 0, 0, &head);
    file.extend(page(0, 0, 1, &tags));
    for (number, packet) in packets.iter().enumerate() {
        let last = number + 1 == packets.len();
        file.extend(page(if last { 4 } else { 0 }, (number as u64 + 1) * 960, number as u32 + 2, packet));
    }
    file
}

/// One page with one packet of less than 255 × 255 bytes.
fn page(flags: u8, granule: u64, number: u32, packet: &[u8]) -> Vec<u8> {
    let mut page = b"OggS\0".to_vec();
    page.push(flags);
    page.extend(granule.to_le_bytes());
    page.extend(1_u32.to_le_bytes());
    page.extend(number.to_le_bytes());
    page.extend([0; 4]);
    let segments = packet.len() / 255 + 1;
    page.push(segments as u8);
    page.extend(std::iter::repeat_n(255, segments - 1));
    page.push((packet.len() % 255) as u8);
    page.extend_from_slice(packet);
    let sum = page.iter().fold(0_u32, |mut sum, byte| {
        sum ^= u32::from(*byte) << 24;
        for _ in 0..8 {
            sum = sum << 1 ^ if sum >> 31 == 1 { 0x04c1_1db7 } else { 0 };
        }
        sum
    });
    page[22..26].copy_from_slice(&sum.to_le_bytes());
    page
}
