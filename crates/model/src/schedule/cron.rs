//! Cron expressions (`SCH-2`) as sets of seconds, minutes, hours, days, months and weekdays.

use std::fmt;

use jiff::civil::Date;
use jiff::tz::Offset;

/// No expression is longer.
const MAX_LENGTH: usize = 512;
const SECONDS_OF_DAY: i64 = 86_400;

const MONTHS: [&str; 12] = ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"];
const WEEKDAYS: [&str; 7] = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"];

/// A cron expression, read. Each set is a number whose bits are its members.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cron {
    seconds: u64,
    minutes: u64,
    hours: u64,
    days: u64,
    months: u64,
    weekdays: u64,
}

/// Why a text is no cron expression.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CronError {
    /// Neither five nor six fields, and no shortcut either.
    #[error("it must have five fields, six with seconds, or be one of @yearly, @monthly, @weekly, @daily, @hourly")]
    Fields,
    /// A field that cannot be read.
    #[error("\"{text}\" is not valid for the {field}: {why}")]
    Field {
        /// Which.
        field: &'static str,
        /// The part of it that is wrong.
        text: String,
        /// What is wrong with it.
        why: Why,
    },
}

/// What is wrong with a part of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// It is no number.
    NoNumber,
    /// It is too small or too large.
    OutOfRange(u32, u32),
    /// A range that ends before it begins.
    Backwards,
    /// A step of zero.
    NoStep,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoNumber => f.write_str("use numbers, *, commas, hyphens and slashes"),
            Self::OutOfRange(from, to) => write!(f, "it must be from {from} to {to}"),
            Self::Backwards => f.write_str("the range ends before it begins"),
            Self::NoStep => f.write_str("the step must be at least 1"),
        }
    }
}

/// One of the fields of an expression.
struct Field {
    name: &'static str,
    from: u32,
    to: u32,
    names: &'static [&'static str],
}

const SECOND: Field = Field { name: "second", from: 0, to: 59, names: &[] };
const MINUTE: Field = Field { name: "minute", from: 0, to: 59, names: &[] };
const HOUR: Field = Field { name: "hour", from: 0, to: 23, names: &[] };
const DAY: Field = Field { name: "day of month", from: 1, to: 31, names: &[] };
const MONTH: Field = Field { name: "month", from: 1, to: 12, names: &MONTHS };
const WEEKDAY: Field = Field { name: "day of week", from: 0, to: 7, names: &WEEKDAYS };

impl Cron {
    /// Reads an expression of five fields, of six with seconds in front, or a shortcut.
    ///
    /// # Errors
    /// Names the first part that is wrong.
    pub fn parse(text: &str) -> Result<Self, CronError> {
        if text.len() > MAX_LENGTH {
            return Err(CronError::Fields);
        }
        let text = match text.trim() {
            "@yearly" => "0 0 1 1 *",
            "@monthly" => "0 0 1 * *",
            "@weekly" => "0 0 * * 0",
            "@daily" => "0 0 * * *",
            "@hourly" => "0 * * * *",
            other => other,
        };
        let fields: Vec<&str> = text.split_ascii_whitespace().collect();
        let (second, [minute, hour, day, month, weekday]) = match fields[..] {
            [minute, hour, day, month, weekday] => ("0", [minute, hour, day, month, weekday]),
            [second, minute, hour, day, month, weekday] => (second, [minute, hour, day, month, weekday]),
            _ => return Err(CronError::Fields),
        };
        let weekdays = WEEKDAY.parse(weekday)?;
        Ok(Self {
            seconds: SECOND.parse(second)?,
            minutes: MINUTE.parse(minute)?,
            hours: HOUR.parse(hour)?,
            days: DAY.parse(day)?,
            months: MONTH.parse(month)?,
            // Sunday is 0 and 7.
            weekdays: (weekdays | weekdays >> 7) & WEEKDAY.all() >> 1,
        })
    }

    /// Whether it means every hour of a day. Such an expression goes by the time that passes, others by what clocks show.
    pub(super) fn is_hourly(&self) -> bool {
        self.hours == HOUR.all()
    }

    /// The first second that matches, of those from `from` and before `to`; all of them count from 1970 in local time.
    pub(super) fn first_match(&self, from: i64, to: i64) -> Option<i64> {
        let (mut date, mut second) = day_of(from)?;
        loop {
            let start = start_of(date)?;
            if start >= to {
                return None;
            }
            if !has(self.months, date.month()) {
                (date, second) = (date.last_of_month().tomorrow().ok()?, 0);
                continue;
            }
            if self.has_day(date)
                && let Some(second) = self.first_of_day(second)
            {
                let found = start + i64::from(second);
                return (found < to).then_some(found);
            }
            (date, second) = (date.tomorrow().ok()?, 0);
        }
    }

    /// Where both days of the month and of the week are named, either is enough, as everywhere.
    fn has_day(&self, date: Date) -> bool {
        let day = has(self.days, date.day());
        let weekday = has(self.weekdays, date.weekday().to_sunday_zero_offset());
        let both_named = self.days != DAY.all() && self.weekdays != WEEKDAY.all() >> 1;
        if both_named { day || weekday } else { day && weekday }
    }

    /// The first second of a day that matches, from `from` on.
    fn first_of_day(&self, from: u32) -> Option<u32> {
        let (hour, minute, second) = (from / 3600, from / 60 % 60, from % 60);
        if self.hours >> hour & 1 == 1 {
            if self.minutes >> minute & 1 == 1
                && let Some(second) = next(self.seconds, second)
            {
                return Some(hour * 3600 + minute * 60 + second);
            }
            if let Some(minute) = next(self.minutes, minute + 1) {
                return Some(hour * 3600 + minute * 60 + next(self.seconds, 0)?);
            }
        }
        let hour = next(self.hours, hour + 1)?;
        Some(hour * 3600 + next(self.minutes, 0)? * 60 + next(self.seconds, 0)?)
    }
}

impl Field {
    fn all(&self) -> u64 {
        (self.from..=self.to).fold(0, |set, value| set | 1 << value)
    }

    fn parse(&self, text: &str) -> Result<u64, CronError> {
        text.split(',').try_fold(0, |set, part| Ok(set | self.parse_part(part)?))
    }

    /// `*`, `5`, `5-9`, each also with a step: `*/2`, `5-9/2`, and `5/2`, which goes on to the end.
    fn parse_part(&self, part: &str) -> Result<u64, CronError> {
        let refused = |why| CronError::Field { field: self.name, text: part.to_owned(), why };
        let (range, step) = match part.split_once('/') {
            Some((range, step)) => (range, Some(number(step).ok_or(refused(Why::NoNumber))?)),
            None => (part, None),
        };
        let (from, to) = match range.split_once('-') {
            _ if range == "*" => (self.from, self.to),
            Some((from, to)) => {
                (self.value(from).ok_or(refused(Why::NoNumber))?, self.value(to).ok_or(refused(Why::NoNumber))?)
            }
            None => {
                let value = self.value(range).ok_or(refused(Why::NoNumber))?;
                (value, if step.is_some() { value.max(self.to) } else { value })
            }
        };
        if from < self.from || to > self.to {
            return Err(refused(Why::OutOfRange(self.from, self.to)));
        }
        if from > to {
            return Err(refused(Why::Backwards));
        }
        match usize::try_from(step.unwrap_or(1)) {
            Ok(step) if step > 0 => Ok((from..=to).step_by(step).fold(0, |set, value| set | 1 << value)),
            _ => Err(refused(Why::NoStep)),
        }
    }

    fn value(&self, text: &str) -> Option<u32> {
        let named = self.names.iter().position(|name| name.eq_ignore_ascii_case(text));
        match named.and_then(|place| u32::try_from(place).ok()) {
            Some(place) if self.from == 0 => Some(place),
            Some(place) => Some(place + 1),
            None => number(text),
        }
    }
}

fn number(text: &str) -> Option<u32> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    // What is longer is out of every range.
    digits.then(|| text.parse().unwrap_or(u32::MAX))
}

fn has(set: u64, value: i8) -> bool {
    u32::try_from(value).is_ok_and(|value| set >> value & 1 == 1)
}

/// The smallest member of at least `from`.
fn next(set: u64, from: u32) -> Option<u32> {
    let rest = set.checked_shr(from)?;
    (rest != 0).then(|| from + rest.trailing_zeros())
}

/// The date of a local second, and the second of that day.
fn day_of(second: i64) -> Option<(Date, u32)> {
    let date = Offset::UTC.to_datetime(jiff::Timestamp::from_second(second).ok()?).date();
    Some((date, u32::try_from(second.rem_euclid(SECONDS_OF_DAY)).ok()?))
}

fn start_of(date: Date) -> Option<i64> {
    Some(Offset::UTC.to_timestamp(date.to_datetime(jiff::civil::Time::midnight())).ok()?.as_second())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_sets() {
        for (text, same) in [
            ("* * * * *", "0 0-59 0-23 1-31 1-12 0-6"),
            ("*/15 0 * * *", "0,15,30,45 0 * * *"),
            ("5/20 0 * * *", "5,25,45 0 * * *"),
            ("1-10/4,3 0 * * *", "1,3,5,9 0 * * *"),
            ("0 0 * JAN-mar *", "0 0 * 1,2,3 *"),
            ("0 0 * * 7", "0 0 * * SUN"),
            ("0 0 * * 5-7", "0 0 * * 0,5,6"),
            ("0 0 * * 0-7", "0 0 * * *"),
            ("  @daily ", "0 0 0 * * *"),
            ("@hourly", "0 * * * *"),
            ("@weekly", "0 0 * * 0"),
            ("@monthly", "0 0 1 * *"),
            ("@yearly", "0 0 1 1 *"),
            ("007 00 * * *", "7 0 * * *"),
        ] {
            assert_eq!(Cron::parse(text), Cron::parse(same), "{text}");
            assert!(Cron::parse(text).is_ok(), "{text}");
        }
        assert!(Cron::parse("0 0 * * * *").unwrap().is_hourly());
        assert!(!Cron::parse("0 */2 * * *").unwrap().is_hourly());
    }

    #[test]
    fn what_cannot_be_read_is_refused() {
        for text in [
            "",
            " ",
            "*",
            "* * * *",
            "* * * * * * *",
            "@never",
            "@DAILY",
            "60 * * * *",
            "* 24 * * *",
            "* * 0 * *",
            "* * 32 * *",
            "* * * 0 *",
            "* * * 13 *",
            "* * * * 8",
            "60 * * * * *",
            "-1 * * * *",
            "1- * * * *",
            "5-1 * * * *",
            "*/0 * * * *",
            "*/x * * * *",
            "1/ * * * *",
            "a * * * *",
            "1,,2 * * * *",
            ", * * * *",
            "? * * * *",
            "* * L * *",
            "* * * * 1#2",
            "+1 * * * *",
            "1.5 * * * *",
            "* * * * MONDAY",
            "JAN * * * *",
            "99999999999999999999 * * * *",
            "*/99999999999999999999 * * * *x",
            "** * * * *",
            "１ * * * *",
        ] {
            assert!(Cron::parse(text).is_err(), "{text}");
        }
        assert!(Cron::parse(&format!("{} * * * *", "1,".repeat(300) + "1")).is_err());
        let message = Cron::parse("61 * * * *").unwrap_err().to_string();
        assert_eq!(message, "\"61\" is not valid for the minute: it must be from 0 to 59");
    }
}
