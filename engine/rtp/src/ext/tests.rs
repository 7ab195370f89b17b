use super::{ElementError, Extension, Form, write_elements};
use proptest::prelude::*;

const ONE: u16 = 0xbede;
const TWO: u16 = 0x1000;

fn elements(profile: u16, data: &[u8]) -> Vec<(u8, Vec<u8>)> {
    Extension { profile, data }.elements().map(|(id, data)| (id, data.to_vec())).collect()
}

#[test]
fn one_byte_elements_with_padding_between() {
    // RFC 8285 section 4.2's figure: one byte for 1, padding, two bytes for 2, four for 3.
    let data = [0x10, 0xaa, 0, 0, 0x21, 1, 2, 0, 0x33, 9, 8, 7, 6, 0, 0, 0];
    assert_eq!(elements(ONE, &data), [(1, vec![0xaa]), (2, vec![1, 2]), (3, vec![9, 8, 7, 6])]);
    let extension = Extension { profile: ONE, data: &data };
    assert_eq!(extension.element(2), Some(&[1, 2][..]));
    assert_eq!(extension.element(4), None);
}

#[test]
fn one_byte_form_stops_at_15_and_at_0_with_a_length() {
    assert_eq!(elements(ONE, &[0x10, 1, 0xf0, 2, 0x20, 3]), [(1, vec![1])]);
    assert_eq!(elements(ONE, &[0x10, 1, 0x01, 2, 0x20, 3]), [(1, vec![1])]);
}

#[test]
fn two_byte_elements_may_be_empty_and_use_every_identifier() {
    let data = [1, 0, 15, 1, 7, 0, 255, 2, 3, 4, 0, 0];
    assert_eq!(elements(TWO, &data), [(1, vec![]), (15, vec![7]), (255, vec![3, 4])]);
    assert_eq!(elements(0x100f, &data).len(), 3, "the application's four bits do not matter");
    assert_eq!(elements(0x1010, &data), [], "the twelve bits above them do");
}

#[test]
fn elements_end_where_the_data_ends() {
    assert_eq!(elements(ONE, &[0x10, 1, 0x23, 1, 2, 3]), [(1, vec![1])]);
    assert_eq!(elements(ONE, &[0x13]), []);
    assert_eq!(elements(TWO, &[1, 1, 5, 2]), [(1, vec![5])]);
    assert_eq!(elements(TWO, &[1, 3, 5, 2]), []);
    assert_eq!(elements(ONE, &[]), []);
    let mut cut = Extension { profile: TWO, data: &[1, 9, 2, 0] }.elements();
    assert_eq!((cut.next(), cut.next()), (None, None), "nothing is read after a cut element");
}

#[test]
fn elements_that_do_not_fit_the_form_are_refused_whole() {
    let long = [0; 256];
    let mut out = vec![7];
    for (form, id, bytes, error) in [
        (Form::OneByte, 0, 1, ElementError::Id(0)),
        (Form::OneByte, 15, 1, ElementError::Id(15)),
        (Form::OneByte, 14, 0, ElementError::Length(0)),
        (Form::OneByte, 14, 17, ElementError::Length(17)),
        (Form::TwoByte, 0, 1, ElementError::Id(0)),
        (Form::TwoByte, 255, 256, ElementError::Length(256)),
    ] {
        let good: (u8, &[u8]) = (1, &[1]);
        assert_eq!(write_elements(&mut out, form, &[good, (id, &long[..bytes])]), Err(error));
        assert_eq!(out, [7], "nothing was written for {error:?}");
    }
    let edges: [(u8, &[u8]); 2] = [(1, &long[..1]), (14, &long[..16])];
    assert_eq!(write_elements(&mut out, Form::OneByte, &edges), Ok(()));
    assert_eq!(out.len(), 1 + 20);
    assert_eq!(write_elements(&mut out, Form::TwoByte, &[(255, &long[..255])]), Ok(()));
    assert_eq!(out.len(), 1 + 20 + 260);
}

proptest! {
    #[test]
    fn written_elements_read_back(
        one_byte in prop::collection::vec((1_u8..=14, prop::collection::vec(any::<u8>(), 1..=16)), 0..8),
        two_byte in prop::collection::vec((1_u8..=255, prop::collection::vec(any::<u8>(), 0..=255)), 0..8),
    ) {
        for (form, expected) in [(Form::OneByte, one_byte), (Form::TwoByte, two_byte)] {
            let borrowed: Vec<(u8, &[u8])> = expected.iter().map(|(id, data)| (*id, &data[..])).collect();
            let mut out = Vec::new();
            prop_assert_eq!(write_elements(&mut out, form, &borrowed), Ok(()));
            prop_assert_eq!(out.len() % 4, 0);
            prop_assert_eq!(elements(form.profile(), &out), expected);
        }
    }
}
