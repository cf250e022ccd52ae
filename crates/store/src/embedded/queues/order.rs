//! Where requests stand: the numbers behind order, locks and expiry.
//!
//! A place is `milliseconds << 20 | number`, so that a million requests find room in each millisecond, in order. Locks end
//! at places, too, and what is not behind the present is pending (`Q11`).
//!
//! A queue has a time of its own, which never goes back: that of the clock plus `skew`, which grows by as much as the clock
//! jumps back. So places stay in order and locks keep the length that they were given, whatever happens to the clock.

use model::Timestamp;

use crate::embedded::db::Counter;

/// Bits of a place that count within a millisecond.
const NUMBER_BITS: u32 = 20;
/// The last millisecond that a place can name, in the year 2248.
const LAST_MILLI: i64 = (1 << (i64::BITS - 1 - NUMBER_BITS)) - 2;

/// The present of a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Present {
    /// Milliseconds of the queue's own time.
    milli: i64,
    /// How far that is ahead of the clock.
    skew: i64,
}

impl Present {
    /// The present for a reader, who leaves no trace.
    pub(super) fn of(counter: &Counter, clock: Timestamp) -> Self {
        let last = counter.place >> NUMBER_BITS;
        let skew = counter.place_skew.max(last.saturating_sub(clock.as_millis()));
        Self { milli: clock.as_millis().saturating_add(skew).clamp(0, LAST_MILLI), skew }
    }

    /// The present for a writer, behind which the queue will not fall back.
    pub(super) fn enter(counter: &mut Counter, clock: Timestamp) -> Self {
        let present = Self::of(counter, clock);
        counter.place_skew = present.skew;
        counter.place = counter.place.max(present.milli << NUMBER_BITS);
        present
    }

    /// What lies strictly between minus this and this is pending; what lies outside is locked.
    pub(super) fn horizon(self) -> i64 {
        (self.milli + 1) << NUMBER_BITS
    }

    /// When the lock of a request that stands at `ord` ends; `None` if it is pending.
    pub(super) fn lock_end(self, ord: i64) -> Option<Timestamp> {
        let end = ord.saturating_abs();
        (end >= self.horizon()).then(|| Timestamp::from_millis((end >> NUMBER_BITS) - self.skew))
    }

    /// The place at which a lock of `millis` ends. `number` orders locks that end together.
    pub(super) fn locked(self, millis: i64, number: i64, forefront: bool) -> i64 {
        let milli = self.milli.saturating_add(millis).clamp(0, LAST_MILLI);
        signed((milli << NUMBER_BITS) | (number & ((1 << NUMBER_BITS) - 1)), forefront)
    }
}

/// The next place at the end, or in front of all others.
pub(super) fn next_place(counter: &mut Counter, forefront: bool) -> i64 {
    counter.place += 1;
    signed(counter.place, forefront)
}

fn signed(place: i64, forefront: bool) -> i64 {
    if forefront { -place } else { place }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    #[test]
    fn places_keep_their_order_when_the_clock_jumps_back() {
        let mut counter = Counter::default();
        let mut last = 0;

        for clock in [1000, 1000, 2000, 500, 400, 1500, 3000] {
            let present = Present::enter(&mut counter, at(clock));
            let place = next_place(&mut counter, false);

            assert!(place > last, "{clock}");
            assert_eq!(present.lock_end(place), None, "a new place is pending at once");
            last = place;
        }
    }

    #[test]
    fn a_lock_keeps_its_length_when_the_clock_jumps_back() {
        let mut counter = Counter::default();
        let ord = Present::enter(&mut counter, at(10_000)).locked(1000, 7, false);

        let present = Present::enter(&mut counter, at(3000));
        assert_eq!(present.lock_end(ord), Some(at(4000)), "as the clock tells it now");
        assert_eq!(Present::of(&counter, at(3999)).lock_end(ord), Some(at(4000)));
        assert_eq!(Present::of(&counter, at(4000)).lock_end(ord), None);
    }

    #[test]
    fn a_lock_of_any_length_ends_some_day() {
        let mut counter = Counter::default();
        let present = Present::enter(&mut counter, at(1_800_000_000_000));

        for forefront in [false, true] {
            let ord = present.locked(i64::MAX, i64::MAX, forefront);
            assert!(present.lock_end(ord).is_some());
            assert_eq!(ord < 0, forefront);
        }
    }

    #[test]
    fn more_requests_than_a_millisecond_holds_stay_pending_and_in_order() {
        let mut counter = Counter::default();
        Present::enter(&mut counter, at(5));
        let mut last = 0;
        for _ in 0..(1 << NUMBER_BITS) + 10 {
            last = next_place(&mut counter, false);
        }

        let present = Present::enter(&mut counter, at(5));

        assert_eq!(present.lock_end(last), None);
        assert!(next_place(&mut counter, false) > last);
    }
}
