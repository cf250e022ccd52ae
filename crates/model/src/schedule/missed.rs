//! What becomes of times that pass while nobody looks: the server was down, or its clock jumped.

use super::ticks::Ticks;
use crate::Timestamp;

/// What a schedule does about the times that passed while the server was down (`SCH-12`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MissedTicks {
    /// Nothing: it goes on with the next.
    #[default]
    Skip,
    /// It makes up for the first of them.
    One,
    /// It makes up for each of them, one after the other.
    All,
}

/// A time that passed less than this before somebody looked again is late and not missed, in milliseconds.
const LATE_MILLIS: i64 = 10_000;
/// Who has not looked for so long has been away, in milliseconds.
const AWAY_MILLIS: i64 = 60_000;

/// Remembers since when somebody has been looking without a gap.
#[derive(Clone, Copy, Debug)]
pub struct Watch {
    since: Timestamp,
    seen: Timestamp,
}

impl Watch {
    /// Begins to look.
    pub fn begin(now: Timestamp) -> Self {
        Self { since: now, seen: now }
    }

    /// Looks. A clock that has moved far since the last look, by whatever cause, means that somebody was away.
    pub fn look(&mut self, now: Timestamp) {
        if now.millis_since(self.seen) > AWAY_MILLIS {
            self.since = now;
        }
        // A clock that was put back shows times again that were looked at.
        self.since = self.since.min(now);
        self.seen = now;
    }

    /// What was due before this was missed.
    pub fn missed_before(&self) -> Timestamp {
        self.since.plus_millis(-LATE_MILLIS)
    }
}

/// What to do about a time at which a schedule was due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Invocation {
    /// Whether to start what the schedule starts.
    pub starts: bool,
    /// When the schedule is due next.
    pub next: Option<Timestamp>,
}

/// Decides what to do about `tick`, at which a schedule was due. `has_begun` tells that some of it was started already by a
/// server that stopped over it: then it is finished.
pub fn decide(
    ticks: &Ticks,
    tick: Timestamp,
    missed_before: Timestamp,
    missed: MissedTicks,
    has_begun: bool,
) -> Invocation {
    let is_missed = tick < missed_before && !has_begun;
    let starts = !(is_missed && missed == MissedTicks::Skip);
    let last = starts.then_some(tick);
    let from = if is_missed && missed != MissedTicks::All { missed_before } else { tick };
    let from = from.max(tick.plus_millis(1));
    Invocation { starts, next: ticks.next(from, last) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn minutes(minutes: i64) -> Timestamp {
        Timestamp::from_millis(1_788_134_400_000).plus_secs(60 * minutes)
    }

    #[test]
    fn times_that_were_missed_are_left_out_or_made_up_for() {
        let every_minute = Ticks::of("* * * * *", "UTC").unwrap();
        let invocation = |starts, next| Invocation { starts, next: Some(minutes(next)) };
        let decided = |missed, has_begun| decide(&every_minute, minutes(0), minutes(10), missed, has_begun);

        assert_eq!(decided(MissedTicks::Skip, false), invocation(false, 10));
        assert_eq!(decided(MissedTicks::One, false), invocation(true, 10));
        assert_eq!(decided(MissedTicks::All, false), invocation(true, 1));
        for missed in [MissedTicks::Skip, MissedTicks::One, MissedTicks::All] {
            assert_eq!(decided(missed, true), invocation(true, 1), "what was begun is finished");
            let on_time = decide(&every_minute, minutes(10), minutes(10), missed, false);
            assert_eq!(on_time, invocation(true, 11));
        }
    }

    #[test]
    fn the_next_time_is_ten_seconds_away_from_one_that_was_made_up_for() {
        let every_second = Ticks::of("* * * * * *", "UTC").unwrap();
        let tick = minutes(0);

        let one = decide(&every_second, tick, tick.plus_secs(5), MissedTicks::One, false);
        assert_eq!(one.next, Some(tick.plus_secs(10)));
        let skipped = decide(&every_second, tick, tick.plus_secs(5), MissedTicks::Skip, false);
        assert_eq!(skipped, Invocation { starts: false, next: Some(tick.plus_secs(5)) });
    }

    #[test]
    fn a_gap_between_looks_means_to_have_been_away() {
        let start = minutes(0);
        let mut watch = Watch::begin(start);
        assert_eq!(watch.missed_before(), start.plus_secs(-10));

        for minute in 1..=3 {
            watch.look(minutes(minute));
            assert_eq!(watch.missed_before(), start.plus_secs(-10), "looks may be a minute apart");
        }
        watch.look(minutes(60));
        assert_eq!(watch.missed_before(), minutes(60).plus_secs(-10));
        watch.look(minutes(5));
        assert_eq!(watch.missed_before(), minutes(5).plus_secs(-10), "the clock was put back");
        watch.look(minutes(6));
        assert_eq!(watch.missed_before(), minutes(5).plus_secs(-10));
    }
}
