//! When a schedule is due: its cron expression in its time zone (`SCH-2` to `SCH-4`).

use jiff::tz::TimeZone;

use super::cron::{Cron, CronError};
use crate::Timestamp;

/// Invocations are at least so far apart, in milliseconds (`SCH-3`).
pub const MIN_DISTANCE_MILLIS: i64 = 10_000;
/// Seconds within which every expression that ever matches does: 29 February can be eight years away.
const HORIZON: i64 = 9 * 366 * 86_400;

/// The times at which a schedule is due.
#[derive(Clone, Debug)]
pub struct Ticks {
    cron: Cron,
    zone: TimeZone,
}

/// Why there are no times at which a schedule could be due.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TicksError {
    /// The expression cannot be read.
    #[error("Cron expression \"{0}\" is not valid: {1}")]
    Cron(String, CronError),
    /// Nobody knows the time zone.
    #[error("Time zone \"{0}\" is unknown; use a name such as UTC or Europe/Prague")]
    Zone(String),
    /// The expression never matches, such as 30 February.
    #[error("Cron expression \"{0}\" never matches any time")]
    Never(String),
}

/// A stretch of time with one offset from UTC.
#[derive(Clone, Copy, Debug)]
struct Stretch {
    /// When it began, in seconds.
    begin: i64,
    /// When it ends, if it does.
    end: i64,
    /// Seconds that local time is ahead of UTC.
    offset: i64,
    /// The same before it began.
    before: i64,
}

impl Ticks {
    /// Reads an expression and finds a time zone.
    ///
    /// # Errors
    /// If one of them is unknown, or they never come together.
    pub fn of(expression: &str, zone: &str) -> Result<Self, TicksError> {
        let cron = Cron::parse(expression).map_err(|error| TicksError::Cron(expression.to_owned(), error))?;
        let zone = TimeZone::get(zone).map_err(|_| TicksError::Zone(zone.to_owned()))?;
        let ticks = Self { cron, zone };
        match ticks.after(Timestamp::from_millis(0)) {
            Some(_) => Ok(ticks),
            None => Err(TicksError::Never(expression.to_owned())),
        }
    }

    /// The first time after `after`.
    ///
    /// An expression for every hour goes by the time that passes. For others, what clocks show twice counts once, at first;
    /// and what they leave out comes as much later as they are put forward (`SCH-4`).
    pub fn after(&self, after: Timestamp) -> Option<Timestamp> {
        let mut from = after.as_millis().div_euclid(1000) + 1;
        let horizon = from + HORIZON;
        while from < horizon {
            let stretch = self.stretch_at(from)?;
            if let Some(found) = self.first_in(stretch, from, stretch.end.min(horizon)) {
                return Some(Timestamp::from_millis(found * 1000));
            }
            from = stretch.end;
        }
        None
    }

    /// The first time that is neither before `time` nor too close to the invocation at `last`.
    pub fn next(&self, time: Timestamp, last: Option<Timestamp>) -> Option<Timestamp> {
        let earliest = last.map_or(time, |last| time.max(last.plus_millis(MIN_DISTANCE_MILLIS)));
        self.after(earliest.plus_millis(-1))
    }

    fn first_in(&self, stretch: Stretch, from: i64, to: i64) -> Option<i64> {
        let Stretch { begin, offset, before, .. } = stretch;
        let shift = offset - before;
        let by_clock = !self.cron.is_hourly();
        let anew = if by_clock && shift < 0 { from.max(begin - shift) } else { from };
        let shown = self.cron.first_match(anew + offset, to + offset).map(|local| local - offset);
        if !(by_clock && shift > 0 && from < begin + shift) {
            return shown;
        }
        let left_out = self.cron.first_match(from + before, (begin + shift).min(to) + before);
        let left_out = left_out.map(|local| local - before);
        shown.into_iter().chain(left_out).min()
    }

    /// The stretch of time around a second.
    fn stretch_at(&self, second: i64) -> Option<Stretch> {
        let time = |second| jiff::Timestamp::from_second(second).ok();
        let offset = |second| Some(i64::from(self.zone.to_offset(time(second)?).seconds()));
        let last = self.zone.preceding(time(second + 1)?).next().map(|change| change.timestamp().as_second());
        let next = self.zone.following(time(second)?).next().map(|change| change.timestamp().as_second());
        let here = offset(second)?;
        Some(Stretch {
            begin: last.unwrap_or(i64::MIN / 2),
            end: next.unwrap_or(i64::MAX / 2),
            offset: here,
            before: match last {
                Some(last) => offset(last - 1)?,
                None => here,
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use jiff::tz::Offset;
    use proptest::prelude::*;

    use super::*;

    fn time(text: &str) -> Timestamp {
        Timestamp::parse(text).unwrap()
    }

    /// The first times after `after`, as clocks in the zone show them.
    fn first(expression: &str, zone: &str, after: &str, count: usize) -> Vec<String> {
        let ticks = Ticks::of(expression, zone).unwrap();
        let mut last = time(after);
        let zone = TimeZone::get(zone).unwrap();
        (0..count)
            .map(|_| {
                last = ticks.after(last).unwrap();
                let zoned = jiff::Timestamp::from_millisecond(last.as_millis()).unwrap().to_zoned(zone.clone());
                zoned.strftime("%m-%d %H:%M:%S%:z").to_string()
            })
            .collect()
    }

    #[test]
    fn times_follow_the_expression() {
        for (expression, after, expected) in [
            ("* * * * *", "2026-08-31T09:13:25.123Z", ["08-31 09:14:00", "08-31 09:15:00", "08-31 09:16:00"]),
            ("* * * * *", "2026-08-31T09:14:00Z", ["08-31 09:15:00", "08-31 09:16:00", "08-31 09:17:00"]),
            ("* * * * *", "2026-08-31T09:13:59.999Z", ["08-31 09:14:00", "08-31 09:15:00", "08-31 09:16:00"]),
            ("*/20 * * * * *", "2026-12-31T23:59:30Z", ["12-31 23:59:40", "01-01 00:00:00", "01-01 00:00:20"]),
            ("30 8 29 2 *", "2026-08-31T00:00:00Z", ["02-29 08:30:00", "02-29 08:30:00", "02-29 08:30:00"]),
            ("0 12 13 * 5", "2026-02-01T00:00:00Z", ["02-06 12:00:00", "02-13 12:00:00", "02-20 12:00:00"]),
            ("0 12 31 * *", "2026-01-31T12:00:00Z", ["03-31 12:00:00", "05-31 12:00:00", "07-31 12:00:00"]),
            ("@weekly", "2026-08-31T00:00:00Z", ["09-06 00:00:00", "09-13 00:00:00", "09-20 00:00:00"]),
            ("59 59 23 31 12 *", "2026-08-31T00:00:00Z", ["12-31 23:59:59", "12-31 23:59:59", "12-31 23:59:59"]),
        ] {
            let expected = expected.map(|time| format!("{time}+00:00"));
            assert_eq!(first(expression, "UTC", after, 3), expected, "{expression}");
        }
        let far = Ticks::of("0 0 29 2 *", "UTC").unwrap().after(time("2096-03-01T00:00:00Z"));
        assert_eq!(far, Some(time("2104-02-29T00:00:00Z")), "2100 is no leap year");
    }

    #[test]
    fn a_time_that_clocks_leave_out_comes_later_by_as_much() {
        let berlin = |expression, count| first(expression, "Europe/Berlin", "2026-03-28T12:00:00Z", count);

        assert_eq!(berlin("30 2 * * *", 2), ["03-29 03:30:00+02:00", "03-30 02:30:00+02:00"]);
        assert_eq!(
            berlin("15,45 2,3 * * *", 3),
            ["03-29 03:15:00+02:00", "03-29 03:45:00+02:00", "03-30 02:15:00+02:00"]
        );
        assert_eq!(berlin("0 3 * * *", 2), ["03-29 03:00:00+02:00", "03-30 03:00:00+02:00"]);
        assert_eq!(
            first("5 * * * *", "Europe/Berlin", "2026-03-29T00:00:00Z", 3),
            ["03-29 01:05:00+01:00", "03-29 03:05:00+02:00", "03-29 04:05:00+02:00"]
        );
        // Lord Howe Island moves by half an hour.
        assert_eq!(
            first("15 2 * * *", "Australia/Lord_Howe", "2026-10-03T00:00:00Z", 2),
            ["10-04 02:45:00+11:00", "10-05 02:15:00+11:00"]
        );
        // Samoa left out a whole day.
        assert_eq!(
            first("0 9 30 * *", "Pacific/Apia", "2011-12-01T00:00:00Z", 2),
            ["12-31 09:00:00+14:00", "01-30 09:00:00+14:00"]
        );
    }

    #[test]
    fn a_time_that_clocks_show_twice_comes_once_unless_every_hour_is_meant() {
        let berlin = |expression, after, count| first(expression, "Europe/Berlin", after, count);

        let daily = ["10-25 02:30:00+02:00", "10-26 02:30:00+01:00"];
        assert_eq!(berlin("30 2 * * *", "2026-10-24T12:00:00Z", 2), daily);
        assert_eq!(berlin("30 2 * * *", "2026-10-25T00:45:00Z", 1), daily[1..], "from between both");
        assert_eq!(berlin("30 2 * * *", "2026-10-25T01:10:00Z", 1), daily[1..], "from within the second");
        assert_eq!(
            berlin("*/30 * * * *", "2026-10-25T00:00:00Z", 4),
            ["10-25 02:30:00+02:00", "10-25 02:00:00+01:00", "10-25 02:30:00+01:00", "10-25 03:00:00+01:00"]
        );
    }

    #[test]
    fn what_never_comes_or_is_unknown_is_refused() {
        assert_eq!(Ticks::of("0 0 30 2 *", "UTC").unwrap_err(), TicksError::Never("0 0 30 2 *".to_owned()));
        assert_eq!(Ticks::of("0 0 31 4,6 *", "UTC").unwrap_err(), TicksError::Never("0 0 31 4,6 *".to_owned()));
        for zone in ["", "Mars/Olympus", "CET; rm -rf", "../../etc/passwd", "+02:00"] {
            assert!(matches!(Ticks::of("* * * * *", zone), Err(TicksError::Zone(_))), "{zone}");
        }
        assert!(matches!(Ticks::of("x", "UTC"), Err(TicksError::Cron(..))));
    }

    #[test]
    fn invocations_are_ten_seconds_apart() {
        let ticks = Ticks::of("* * * * * *", "UTC").unwrap();
        let last = time("2026-08-31T09:13:25Z");

        assert_eq!(ticks.next(last.plus_millis(500), Some(last)), Some(last.plus_secs(10)));
        assert_eq!(ticks.next(last.plus_secs(60), Some(last)), Some(last.plus_secs(60)), "a time itself counts");
        assert_eq!(ticks.next(last, None), Some(last));
    }

    fn expressions() -> impl Strategy<Value = String> {
        let field = |from: u32, to: u32| {
            prop_oneof![
                3 => Just("*".to_owned()),
                3 => (from..=to).prop_map(|value| value.to_string()),
                2 => (1..=to).prop_map(|step| format!("*/{step}")),
                2 => (from..=to, from..=to).prop_map(|(a, b)| format!("{}-{}", a.min(b), a.max(b))),
                1 => (from..=to, from..=to).prop_map(|(a, b)| format!("{a},{b}")),
            ]
        };
        (field(0, 59), field(0, 59), field(0, 23), field(1, 28), field(1, 12), field(0, 7)).prop_map(
            |(second, minute, hour, day, month, weekday)| format!("{second} {minute} {hour} {day} {month} {weekday}"),
        )
    }

    fn zones() -> impl Strategy<Value = &'static str> {
        proptest::sample::select(vec![
            "UTC",
            "Europe/Berlin",
            "America/New_York",
            "Australia/Lord_Howe",
            "Asia/Kathmandu",
            "Africa/Casablanca",
            "America/Sao_Paulo",
            "Pacific/Apia",
            "Antarctica/Troll",
        ])
    }

    proptest! {
        #[test]
        fn times_come_after_and_strictly_increase(
            expression in expressions(), zone in zones(), start in 1_000_000_000_000i64..2_000_000_000_000,
        ) {
            let ticks = Ticks::of(&expression, zone).unwrap();
            let mut last = Timestamp::from_millis(start);
            for _ in 0..20 {
                let next = ticks.after(last).unwrap();
                prop_assert!(next > last);
                prop_assert_eq!(next.as_millis() % 1000, 0);
                // Nothing lies between: whoever asks a moment before gets the same.
                prop_assert_eq!(ticks.after(next.plus_millis(-1)), Some(next));
                let between = last.plus_millis((next.as_millis() - last.as_millis()) / 2);
                prop_assert_eq!(ticks.after(between), Some(next));
                last = next;
            }
        }

        #[test]
        fn within_one_offset_times_are_those_that_match_second_by_second(
            expression in expressions(), start in 1_700_000_000i64..1_800_000_000,
        ) {
            let ticks = Ticks::of(&expression, "UTC").unwrap();
            let found = ticks.after(Timestamp::from_millis(start * 1000)).unwrap().as_millis() / 1000;
            let plain = (start + 1..start + 4_000).find(|second| matches(&expression, *second));
            match plain {
                Some(plain) => prop_assert_eq!(found, plain),
                None => {
                    prop_assert!(found >= start + 4_000);
                    prop_assert!(matches(&expression, found));
                }
            }
        }

        #[test]
        fn any_text_is_read_or_refused(text in "[-*/,0-9a-zA-Z@ #?]{0,40}", zone in "[a-zA-Z/_+0-9]{0,20}") {
            let _ = Ticks::of(&text, &zone);
            let _ = Ticks::of(&text, "UTC");
        }
    }

    /// Whether an expression of numbers matches a second of UTC, read in the plainest way.
    fn matches(expression: &str, second: i64) -> bool {
        let time = Offset::UTC.to_datetime(jiff::Timestamp::from_second(second).unwrap());
        let fields: Vec<&str> = expression.split(' ').collect();
        let is = |field: &str, value: i8, from: i8, to: i8| {
            field.split(',').any(|part| {
                let (range, step) = part.split_once('/').unwrap_or((part, "1"));
                let (low, high) = match range.split_once('-') {
                    Some((low, high)) => (low.parse().unwrap(), high.parse().unwrap()),
                    None if range == "*" => (from, to),
                    None => (range.parse().unwrap(), range.parse().unwrap()),
                };
                (low..=high).contains(&value) && (value - low) % step.parse::<i8>().unwrap() == 0
            })
        };
        let weekday = time.weekday().to_sunday_zero_offset();
        let on_day = is(fields[3], time.day(), 1, 31);
        let on_weekday = is(fields[5], weekday, 0, 7) || weekday == 0 && is(fields[5], 7, 0, 7);
        let all_days = (1..=31).all(|day| is(fields[3], day, 1, 31));
        let all_weekdays = (0..7).all(|day| is(fields[5], day, 0, 7) || day == 0 && is(fields[5], 7, 0, 7));
        is(fields[0], time.second(), 0, 59)
            && is(fields[1], time.minute(), 0, 59)
            && is(fields[2], time.hour(), 0, 23)
            && is(fields[4], time.month(), 1, 12)
            && if all_days || all_weekdays { on_day && on_weekday } else { on_day || on_weekday }
    }
}
