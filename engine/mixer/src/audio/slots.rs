//! Things with a number of the caller's, in places that stay theirs: an index is quicker than a map.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::ops::{Index, IndexMut};

/// Places by a number of the caller's.
pub(crate) type NumberMap = HashMap<u32, u32, BuildHasherDefault<NumberHasher>>;

/// Spreads numbers that the caller gives: nobody else can choose them so that they fall together, and they are asked
/// for with each packet.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct NumberHasher(u64);

impl Hasher for NumberHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u32(u32::from(*byte)));
    }

    fn write_u32(&mut self, number: u32) {
        // By the golden ratio; tables look at both ends of the product.
        let spread = (self.0 ^ u64::from(number)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 = spread ^ (spread >> 32);
    }
}

/// A table of `T` by place, and the places by number.
#[derive(Debug)]
pub(crate) struct Slots<T> {
    items: Vec<Option<T>>,
    free: Vec<u32>,
    by_number: NumberMap,
}

impl<T> Slots<T> {
    pub(crate) fn new() -> Self {
        Slots { items: Vec::new(), free: Vec::new(), by_number: NumberMap::default() }
    }

    pub(crate) fn len(&self) -> usize {
        self.by_number.len()
    }

    /// Places in use and between them.
    pub(crate) fn places(&self) -> u32 {
        self.items.len() as u32
    }

    /// The place of a number.
    pub(crate) fn place(&self, number: u32) -> Option<u32> {
        self.by_number.get(&number).copied()
    }

    /// Puts `item` under a number that is free.
    pub(crate) fn insert(&mut self, number: u32, item: T) -> u32 {
        let place = self.free.pop().unwrap_or_else(|| {
            self.items.push(None);
            self.items.len() as u32 - 1
        });
        self.items[place as usize] = Some(item);
        let before = self.by_number.insert(number, place);
        assert!(before.is_none(), "the number {number} is in use");
        place
    }

    /// Takes the number away and leaves the item at its place, until [`remove`](Self::remove).
    pub(crate) fn forget(&mut self, number: u32) {
        self.by_number.remove(&number);
    }

    /// Takes what is at a place; `number` is given back unless it was taken for another already.
    pub(crate) fn remove(&mut self, number: u32, place: u32) -> Option<T> {
        if self.by_number.get(&number) == Some(&place) {
            self.by_number.remove(&number);
        }
        let item = self.items.get_mut(place as usize)?.take();
        if item.is_some() {
            self.free.push(place);
        }
        item
    }

    pub(crate) fn at(&self, place: u32) -> Option<&T> {
        self.items.get(place as usize)?.as_ref()
    }

    pub(crate) fn at_mut(&mut self, place: u32) -> Option<&mut T> {
        self.items.get_mut(place as usize)?.as_mut()
    }

    /// Everything, with its place.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, &T)> {
        let items = self.items.iter().enumerate();
        items.filter_map(|(place, item)| item.as_ref().map(|item| (place as u32, item)))
    }

    /// Everything, with its place, to be changed.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (u32, &mut T)> {
        let items = self.items.iter_mut().enumerate();
        items.filter_map(|(place, item)| item.as_mut().map(|item| (place as u32, item)))
    }
}

impl<T> Index<u32> for Slots<T> {
    type Output = T;
    fn index(&self, place: u32) -> &T {
        match self.at(place) {
            Some(item) => item,
            None => panic!("nothing at place {place}"),
        }
    }
}

impl<T> IndexMut<u32> for Slots<T> {
    fn index_mut(&mut self, place: u32) -> &mut T {
        match self.at_mut(place) {
            Some(item) => item,
            None => panic!("nothing at place {place}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Slots;

    #[test]
    fn places_are_used_again_and_numbers_follow() {
        let mut slots = Slots::new();
        let a = slots.insert(70, 'a');
        let b = slots.insert(71, 'b');
        assert_eq!((slots.place(70), slots.place(71), slots.len()), (Some(a), Some(b), 2));
        slots.forget(70);
        assert_eq!((slots.place(70), slots[a]), (None, 'a'));
        // The number goes to another place while the old one is still there.
        let c = slots.insert(70, 'c');
        assert_eq!(slots.remove(70, a), Some('a'));
        assert_eq!(slots.place(70), Some(c));
        assert_eq!(slots.remove(70, a), None);
        assert_eq!(slots.insert(72, 'd'), a);
        slots[b] = 'B';
        assert_eq!(slots.iter().map(|(_, item)| *item).collect::<String>(), "dBc");
    }
}
