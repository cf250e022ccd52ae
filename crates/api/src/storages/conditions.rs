//! What a reader has already, and which part it wants: conditional requests and ranges (`K22`, RFC 9110).

use std::time::UNIX_EPOCH;

use axum::response::{IntoResponse as _, Response};
use http::header::{CONTENT_RANGE, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, RANGE};
use http::{HeaderMap, HeaderValue};
use model::Timestamp;
use store::ByteRange;

use crate::error::{ApiError, Problem};

/// What the headers of a read say of its conditions.
#[derive(Clone, Debug, Default)]
pub(super) struct Conditions {
    if_none_match: Option<String>,
    if_modified_since: Option<String>,
    if_range: Option<String>,
    range: Option<String>,
}

/// The part that is to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// All of it.
    All,
    /// These bytes.
    Range(ByteRange),
    /// A part that is not there.
    Unsatisfiable,
}

impl Conditions {
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        Self {
            if_none_match: text(IF_NONE_MATCH),
            if_modified_since: text(IF_MODIFIED_SINCE),
            if_range: text(IF_RANGE),
            range: text(RANGE),
        }
    }

    /// Whether the reader has the content with that tag, last changed at `modified_at`, already. Tags say more than dates.
    pub(super) fn has(&self, etag: &str, modified_at: Timestamp) -> bool {
        if self.if_none_match.is_some() { self.has_tag(etag) } else { self.saw(modified_at) }
    }

    /// Whether the reader has the content with that tag already.
    pub(super) fn has_tag(&self, etag: &str) -> bool {
        let tags = self.if_none_match.iter().flat_map(|tags| tags.split(','));
        tags.map(str::trim).any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == etag)
    }

    /// The tag of the content of which the reader wants another part, if it names one.
    pub(super) fn resumed(&self) -> Option<&str> {
        self.range.as_ref().and(self.if_range.as_deref())
    }

    /// Whether less than everything may be wanted.
    pub(super) fn wants_part(&self, etag: &str) -> bool {
        self.range(etag).is_some()
    }

    /// The range of bytes that is asked for: its first and its last, of which one may be left out.
    ///
    /// `None` stands for everything: several ranges, and what is no range of bytes, ask for that.
    fn range(&self, etag: &str) -> Option<(Option<u64>, Option<u64>)> {
        let range = self.range.as_deref()?.strip_prefix("bytes=")?;
        // A date is too coarse to tell two versions apart that are to be put together.
        if self.if_range.as_ref().is_some_and(|tag| tag != etag) {
            return None;
        }
        let (first, last) = range.split_once('-')?;
        let number = |text: &str| match text.trim() {
            "" => Some(None),
            // A number too large to be read lies behind the end, and that is all that matters.
            text if text.bytes().all(|byte| byte.is_ascii_digit()) => Some(Some(text.parse().unwrap_or(u64::MAX))),
            _ => None,
        };
        match (number(first)?, number(last)?) {
            (None, None) => None,
            (Some(first), Some(last)) if first > last => None,
            range => Some(range),
        }
    }

    /// The part of `size` bytes that is asked for.
    pub(super) fn part(&self, size: u64, etag: &str) -> Part {
        let (start, end) = match self.range(etag) {
            None | Some((None, None)) => return Part::All,
            Some((Some(first), last)) => (first, last.map_or(size, |last| last.saturating_add(1).min(size))),
            Some((None, Some(last))) => (size.saturating_sub(last), size),
        };
        if start < end { Part::Range(ByteRange { start, end }) } else { Part::Unsatisfiable }
    }

    /// Whether nothing has changed since the reader's date, which has no more than seconds. What is no date counts for nothing.
    fn saw(&self, modified_at: Timestamp) -> bool {
        let since = self.if_modified_since.as_deref().and_then(|date| httpdate::parse_http_date(date).ok());
        let since = since.and_then(|date| date.duration_since(UNIX_EPOCH).ok());
        since.is_some_and(|since| {
            modified_at.as_millis().div_euclid(1000) <= i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
        })
    }
}

/// Says which part of `size` bytes an answer holds.
pub(super) fn tell_part(headers: &mut HeaderMap, part: ByteRange, size: u64) {
    insert(headers, format!("bytes {}-{}/{size}", part.start, part.end - 1));
}

/// The answer to who wants a part that is not there. `what` begins the sentence.
pub(super) fn unsatisfiable(what: &str, size: u64) -> Response {
    let message = format!("{what} has {size} bytes, and none in the range asked for");
    let mut refusal = ApiError::new(Problem::RangeNotSatisfiable, message).into_response();
    insert(refusal.headers_mut(), format!("bytes */{size}"));
    refusal
}

fn insert(headers: &mut HeaderMap, content_range: String) {
    if let Ok(value) = HeaderValue::try_from(content_range) {
        headers.insert(CONTENT_RANGE, value);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn wanting(range: &str) -> Conditions {
        Conditions { range: Some(range.to_owned()), ..Conditions::default() }
    }

    #[test]
    fn a_single_range_is_honoured() {
        let bytes = |start, end| Part::Range(ByteRange { start, end });
        for (range, part) in [
            ("bytes=0-3", bytes(0, 4)),
            ("bytes=4-", bytes(4, 10)),
            ("bytes=-3", bytes(7, 10)),
            ("bytes=-30", bytes(0, 10)),
            ("bytes=5-99", bytes(5, 10)),
            ("bytes=9-99999999999999999999999", bytes(9, 10)),
            ("bytes=10-", Part::Unsatisfiable),
            ("bytes=-0", Part::Unsatisfiable),
            ("bytes=0-1,3-4", Part::All),
            ("bytes=5-2", Part::All),
            ("bytes=-", Part::All),
            ("bytes=a-b", Part::All),
            ("lines=1-2", Part::All),
        ] {
            assert_eq!(wanting(range).part(10, "\"x\""), part, "{range}");
        }
        let changed = Conditions { if_range: Some("\"old\"".to_owned()), ..wanting("bytes=0-3") };
        assert_eq!(changed.part(10, "\"x\""), Part::All);
    }

    #[test]
    fn tags_are_compared_weakly() {
        let having = |tags: &str| Conditions { if_none_match: Some(tags.to_owned()), ..Conditions::default() };

        for (tags, has) in [("\"x\"", true), ("W/\"x\"", true), ("\"y\", \"x\"", true), ("*", true), ("\"y\"", false)] {
            assert_eq!(having(tags).has("\"x\"", Timestamp::from_millis(0)), has, "{tags}");
        }
    }

    #[test]
    fn dates_count_in_seconds_and_only_without_tags() {
        let since = |date: &str| Conditions { if_modified_since: Some(date.to_owned()), ..Conditions::default() };
        let modified_at = Timestamp::from_millis(1_700_000_000_900);

        for (date, has) in [
            ("Tue, 14 Nov 2023 22:13:20 GMT", true),
            ("Tue, 14 Nov 2023 22:13:21 GMT", true),
            ("Tue, 14 Nov 2023 22:13:19 GMT", false),
            ("Tuesday, 14-Nov-23 22:13:20 GMT", true),
            ("yesterday", false),
            ("", false),
        ] {
            assert_eq!(since(date).has("\"x\"", modified_at), has, "{date}");
        }
        let both = Conditions { if_none_match: Some("\"y\"".to_owned()), ..since("Tue, 14 Nov 2023 22:13:20 GMT") };
        assert!(!both.has("\"x\"", modified_at));
    }

    proptest! {
        #[test]
        fn a_range_stays_within_the_record(range in "bytes=[0-9]{0,21}-[0-9]{0,21}", size in 0_u64..1000) {
            if let Part::Range(ByteRange { start, end }) = wanting(&range).part(size, "\"x\"") {
                prop_assert!(start < end && end <= size);
            }
        }
    }
}
