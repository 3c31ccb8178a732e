//! Items in lanes that take turns: who has much to do in one lane is in nobody's way in another.

use std::collections::{BTreeMap, VecDeque};

/// Items by lane. Within a lane the first in is the first out; between lanes it goes round.
#[derive(Debug)]
pub struct Lanes<L, T> {
    /// Lanes without empty ones.
    lanes: BTreeMap<L, VecDeque<T>>,
    /// Each of these lanes once, the next one first.
    order: VecDeque<L>,
    len: usize,
}

impl<L, T> Default for Lanes<L, T> {
    fn default() -> Self {
        Self { lanes: BTreeMap::new(), order: VecDeque::new(), len: 0 }
    }
}

impl<L: Clone + Ord, T> Lanes<L, T> {
    /// Puts an item at the end of its lane.
    pub fn push(&mut self, lane: L, item: T) {
        self.len += 1;
        if let Some(items) = self.lanes.get_mut(&lane) {
            items.push_back(item);
            return;
        }
        self.order.push_back(lane.clone());
        self.lanes.insert(lane, VecDeque::from([item]));
    }

    /// Takes the next item: the first of the lane whose turn it is.
    pub fn pop(&mut self) -> Option<T> {
        let lane = self.order.pop_front()?;
        let items = self.lanes.get_mut(&lane)?;
        let item = items.pop_front();
        if items.is_empty() {
            self.lanes.remove(&lane);
        } else {
            self.order.push_back(lane);
        }
        self.len -= usize::from(item.is_some());
        item
    }

    /// Takes the oldest item of the fullest lane, to make room.
    pub fn pop_of_fullest(&mut self) -> Option<T> {
        let (lane, items) = self.lanes.iter_mut().max_by_key(|(_, items)| items.len())?;
        let item = items.pop_front();
        if items.is_empty() {
            let lane = lane.clone();
            self.lanes.remove(&lane);
            self.order.retain(|known| *known != lane);
        }
        self.len -= usize::from(item.is_some());
        item
    }

    /// How many items there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn lanes(items: &[(char, u8)]) -> Lanes<char, (char, u8)> {
        let mut lanes = Lanes::default();
        items.iter().for_each(|item| lanes.push(item.0, *item));
        lanes
    }

    fn drained(mut lanes: Lanes<char, (char, u8)>) -> Vec<(char, u8)> {
        std::iter::from_fn(|| lanes.pop()).collect()
    }

    #[test]
    fn a_full_lane_delays_another_by_one_item() {
        let full = lanes(&[('a', 1), ('a', 2), ('a', 3), ('b', 1), ('b', 2)]);
        assert_eq!(drained(full), [('a', 1), ('b', 1), ('a', 2), ('b', 2), ('a', 3)]);
    }

    #[test]
    fn room_is_made_where_most_is() {
        let mut full = lanes(&[('b', 1), ('a', 1), ('a', 2)]);
        assert_eq!(full.pop_of_fullest(), Some(('a', 1)));
        assert_eq!(full.len(), 2);
        assert_eq!(drained(full), [('b', 1), ('a', 2)]);
        let mut one = lanes(&[('a', 1)]);
        assert_eq!(one.pop_of_fullest(), Some(('a', 1)));
        assert_eq!((one.pop_of_fullest(), one.pop()), (None, None));
    }

    proptest! {
        #[test]
        fn every_item_comes_out_once_in_the_order_of_its_lane(
            steps in proptest::collection::vec(proptest::option::of(0..4_u8), 0..60)
        ) {
            let (mut lanes, mut given, mut taken) = (Lanes::default(), Vec::new(), Vec::new());
            for (nth, step) in steps.into_iter().enumerate() {
                match step {
                    Some(lane) => {
                        lanes.push(lane, (lane, nth));
                        given.push((lane, nth));
                    }
                    None => taken.extend(lanes.pop()),
                }
                prop_assert_eq!(lanes.len(), given.len() - taken.len());
                prop_assert_eq!(lanes.is_empty(), given.len() == taken.len());
            }
            taken.extend(std::iter::from_fn(|| lanes.pop()));
            for lane in 0..4 {
                let of = |items: &[(u8, usize)]| -> Vec<(u8, usize)> {
                    items.iter().filter(|(of, _)| *of == lane).copied().collect()
                };
                prop_assert_eq!(of(&taken), of(&given));
            }
        }
    }
}
