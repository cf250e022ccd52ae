//! Points in time and the clock that tells them.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A point in time, in milliseconds since 1970 (UTC).
///
/// On the wire it is ISO 8601 with milliseconds and `Z` (`VAL-1`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// From milliseconds since 1970.
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// Milliseconds since 1970.
    pub const fn as_millis(self) -> i64 {
        self.0
    }

    /// This time plus `millis`, which may be negative; stays in range at the ends.
    pub const fn plus_millis(self, millis: i64) -> Self {
        Self(self.0.saturating_add(millis))
    }

    /// This time plus `secs` seconds.
    pub const fn plus_secs(self, secs: i64) -> Self {
        self.plus_millis(secs.saturating_mul(1000))
    }

    /// Milliseconds from `earlier` to this time; negative if `earlier` is later.
    pub const fn millis_since(self, earlier: Self) -> i64 {
        self.0.saturating_sub(earlier.0)
    }

    /// The first and the last millisecond of the calendar month (UTC) around this time; `None` far outside of our era.
    pub fn month(self) -> Option<(Self, Self)> {
        let first = |text: String| Self::parse(&format!("{}-01", text.get(..7)?));
        let start = first(self.to_string())?;
        // No month has more than 31 days, and the 32nd day lies in the next.
        let next = first(start.plus_millis(31 * DAY_MILLIS).to_string())?;
        Some((start, next.plus_millis(-1)))
    }

    /// Reads any ISO 8601 date and time, with an offset or `Z`; without either it is UTC, and a bare date is its midnight (`VAL-2`).
    ///
    /// Returns `None` for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        if let Some(time) = Self::parse_own_form(text.as_bytes()) {
            return Some(time);
        }
        if let Ok(instant) = text.parse::<jiff::Timestamp>() {
            return Some(Self(instant.as_millisecond()));
        }
        let civil = text.parse::<jiff::civil::DateTime>().ok()?;
        let zoned = civil.to_zoned(jiff::tz::TimeZone::UTC).ok()?;
        Some(Self(zoned.timestamp().as_millisecond()))
    }
}

/// Our own form, which every answer, log line and stored document has many times, is read and written here and not by the
/// library of dates: that is several times cheaper.
const OWN_FORM: &[u8; 24] = b"0000-00-00T00:00:00.000Z";
const DAY_MILLIS: i64 = 86_400_000;

impl Timestamp {
    /// Reads what [`own_form`](Self::own_form) writes; `None` also for whatever is not certainly a date.
    fn parse_own_form(text: &[u8]) -> Option<Self> {
        let text: &[u8; 24] = text.try_into().ok()?;
        let fits = |(byte, form): (&u8, &u8)| if *form == b'0' { byte.is_ascii_digit() } else { byte == form };
        if !text.iter().zip(OWN_FORM).all(fits) {
            return None;
        }
        let number =
            |places: Range<usize>| text[places].iter().fold(0, |number, digit| number * 10 + i64::from(digit - b'0'));
        let (year, month, day) = (number(0..4), number(5..7), number(8..10));
        let (hour, minute, second) = (number(11..13), number(14..16), number(17..19));
        // The 29th of February is left to the library.
        let days = match month {
            2 => 28,
            4 | 6 | 9 | 11 => 30,
            _ => 31,
        };
        let is_certain =
            (1..=12).contains(&month) && (1..=days).contains(&day) && hour < 24 && minute < 60 && second < 60;
        let seconds = ((days_of(year, month, day) * 24 + hour) * 60 + minute) * 60 + second;
        is_certain.then_some(Self(seconds * 1000 + number(20..23)))
    }

    /// ISO 8601 with milliseconds and `Z`; `None` beyond the years of four digits.
    fn own_form(self) -> Option<[u8; 24]> {
        let (year, month, day) = date_of(self.0.div_euclid(DAY_MILLIS));
        if !(0..=9999).contains(&year) {
            return None;
        }
        let in_day = self.0.rem_euclid(DAY_MILLIS);
        let mut text = *OWN_FORM;
        let mut write = |places: Range<usize>, mut number: i64| {
            for digit in text[places].iter_mut().rev() {
                *digit += u8::try_from(number % 10).unwrap_or_default();
                number /= 10;
            }
        };
        write(0..4, year);
        write(5..7, month);
        write(8..10, day);
        write(11..13, in_day / 3_600_000);
        write(14..16, in_day / 60_000 % 60);
        write(17..19, in_day / 1000 % 60);
        write(20..23, in_day % 1000);
        Some(text)
    }
}

/// Year, month and day of a number of days since 1970 (H. Hinnant's algorithm, as is the next).
fn date_of(days: i64) -> (i64, i64, i64) {
    let z = days + 719_468;
    let (era, day_of_era) = (z.div_euclid(146_097), z.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

/// Days since 1970 of a date.
fn days_of(year: i64, month: i64, day: i64) -> i64 {
    let year = year - i64::from(month <= 2);
    let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let day_of_year = (153 * (month + if month > 2 { -3 } else { 9 }) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(text) = self.own_form() {
            return f.write_str(std::str::from_utf8(&text).unwrap_or_default());
        }
        let (year, month, day) = date_of(self.0.div_euclid(DAY_MILLIS));
        let in_day = self.0.rem_euclid(DAY_MILLIS);
        let (hour, minute) = (in_day / 3_600_000, in_day / 60_000 % 60);
        let (second, milli) = (in_day / 1000 % 60, in_day % 1000);
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{milli:03}Z")
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.own_form() {
            Some(text) => serializer.serialize_str(std::str::from_utf8(&text).unwrap_or_default()),
            None => serializer.collect_str(self),
        }
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        crate::text::deserialize(deserializer, "an ISO 8601 date", Self::parse)
    }
}

/// Tells the time. There is one in the whole program, so that tests can hold it still.
pub trait Clock: Send + Sync + fmt::Debug {
    /// Now.
    fn now(&self) -> Timestamp;
}

/// The clock that everybody shares.
pub type SharedClock = Arc<dyn Clock>;

/// The machine's own clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the one place that asks the system for the time")]
    fn now(&self) -> Timestamp {
        let since_epoch = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        Timestamp(i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn our_own_form_is_read_and_written_as_the_library_does(millis in -62_167_219_200_000_i64..253_402_300_800_000) {
            let time = Timestamp(millis);
            let text = time.to_string();
            let library = jiff::Timestamp::from_millisecond(millis).unwrap();

            prop_assert_eq!(&text, &format!("{library:.3}"));
            prop_assert_eq!(serde_json::to_value(time).unwrap(), serde_json::Value::String(text.clone()));
            prop_assert_eq!(Timestamp::parse(&text), Some(time));
        }

        #[test]
        fn what_looks_like_our_own_form_is_no_date_unless_the_library_says_so(
            text in "(1970|2026|2024|2000|1900)-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-6][0-9]:[0-6][0-9]\\.[0-9]{3}Z",
        ) {
            let library = text.parse::<jiff::Timestamp>().ok().map(|time| Timestamp(time.as_millisecond()));

            prop_assert_eq!(Timestamp::parse(&text), library);
        }
    }

    #[test]
    fn dates_are_written_with_milliseconds_and_z() {
        for (millis, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (-1, "1969-12-31T23:59:59.999Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (1_788_167_605_123, "2026-08-31T09:13:25.123Z"),
        ] {
            assert_eq!(Timestamp::from_millis(millis).to_string(), text);
            assert_eq!(Timestamp::parse(text), Some(Timestamp::from_millis(millis)));
        }
    }

    #[test]
    fn dates_are_read_in_every_iso_form() {
        let expected = Timestamp::parse("2026-08-31T09:13:25.000Z");

        for text in
            ["2026-08-31T09:13:25Z", "2026-08-31T11:13:25+02:00", "2026-08-31T09:13:25", " 2026-08-31 09:13:25Z "]
        {
            assert_eq!(Timestamp::parse(text), expected, "{text}");
        }
        assert_eq!(Timestamp::parse("2026-08-31"), Timestamp::parse("2026-08-31T00:00:00Z"));
        for text in ["", "yesterday", "2026-13-01", "1788167605123"] {
            assert_eq!(Timestamp::parse(text), None, "{text}");
        }
    }
}
