//! How a reader wants a record: in which encodings, which part, and whether it has it already (`K15`, `K22`).

use std::convert::Infallible;
use std::time::UNIX_EPOCH;

use axum::extract::FromRequestParts;
use http::header::{IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, RANGE};
use http::request::Parts;
use http::{HeaderMap, Method};
use model::Timestamp;
use store::ByteRange;

use crate::extract::Encoding;
use crate::layers::accepts;

/// What the headers of a read say.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wanted {
    /// Whether only the headers are wanted.
    pub(super) head_only: bool,
    accepted: Vec<Encoding>,
    if_none_match: Option<String>,
    if_modified_since: Option<String>,
    if_range: Option<String>,
    range: Option<String>,
}

/// The part of a record that is to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// All of it.
    All,
    /// These bytes.
    Range(ByteRange),
    /// A part that the record does not have.
    Unsatisfiable,
}

impl Wanted {
    fn of(method: &Method, headers: &HeaderMap) -> Self {
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let encodings = [Encoding::Brotli, Encoding::Gzip, Encoding::Deflate];
        Self {
            head_only: *method == Method::HEAD,
            accepted: encodings.into_iter().filter(|encoding| accepts(headers, *encoding)).collect(),
            if_none_match: text(IF_NONE_MATCH),
            if_modified_since: text(IF_MODIFIED_SINCE),
            if_range: text(IF_RANGE),
            range: text(RANGE),
        }
    }

    /// Whether stored bytes in that encoding can be sent as they are.
    pub(super) fn takes(&self, encoding: Encoding) -> bool {
        self.accepted.contains(&encoding)
    }

    /// Whether the reader has the content with that tag, last changed at `modified_at`, already. Tags say more than dates.
    pub(super) fn has(&self, etag: &str, modified_at: Timestamp) -> bool {
        let Some(tags) = &self.if_none_match else { return self.saw(modified_at) };
        tags.split(',').map(str::trim).any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == etag)
    }

    /// Whether nothing has changed since the reader's date, which has no more than seconds. What is no date counts for nothing.
    fn saw(&self, modified_at: Timestamp) -> bool {
        let since = self.if_modified_since.as_deref().and_then(|date| httpdate::parse_http_date(date).ok());
        let since = since.and_then(|date| date.duration_since(UNIX_EPOCH).ok());
        since.is_some_and(|since| {
            modified_at.as_millis().div_euclid(1000) <= i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
        })
    }

    /// The part of `size` bytes that is asked for. Anything but one range of bytes asks for all.
    pub(super) fn part(&self, size: u64, etag: &str) -> Part {
        let Some(range) = self.range.as_deref().and_then(|range| range.strip_prefix("bytes=")) else {
            return Part::All;
        };
        // A date is too coarse to tell two versions apart that are to be put together.
        if self.if_range.as_ref().is_some_and(|tag| tag != etag) {
            return Part::All;
        }
        let Some((first, last)) = range.split_once('-') else { return Part::All };
        let (first, last) = (first.trim(), last.trim());
        let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        // A number too large to be read lies behind the end, and that is all that matters.
        let number = |text: &str| text.parse::<u64>().unwrap_or(u64::MAX);
        let (start, end) = match (is_number(first), is_number(last)) {
            (true, true) if number(first) <= number(last) => (number(first), number(last).saturating_add(1).min(size)),
            (true, false) if last.is_empty() => (number(first), size),
            (false, true) if first.is_empty() => (size.saturating_sub(number(last)), size),
            _ => return Part::All,
        };
        if start < end { Part::Range(ByteRange { start, end }) } else { Part::Unsatisfiable }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Wanted {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self::of(&parts.method, &parts.headers))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn wanting(range: &str) -> Wanted {
        Wanted { range: Some(range.to_owned()), ..Wanted::default() }
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
        let changed = Wanted { if_range: Some("\"old\"".to_owned()), ..wanting("bytes=0-3") };
        assert_eq!(changed.part(10, "\"x\""), Part::All);
    }

    #[test]
    fn tags_are_compared_weakly() {
        let having = |tags: &str| Wanted { if_none_match: Some(tags.to_owned()), ..Wanted::default() };

        for (tags, has) in [("\"x\"", true), ("W/\"x\"", true), ("\"y\", \"x\"", true), ("*", true), ("\"y\"", false)] {
            assert_eq!(having(tags).has("\"x\"", Timestamp::from_millis(0)), has, "{tags}");
        }
    }

    #[test]
    fn dates_count_in_seconds_and_only_without_tags() {
        let since = |date: &str| Wanted { if_modified_since: Some(date.to_owned()), ..Wanted::default() };
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
        let both = Wanted { if_none_match: Some("\"y\"".to_owned()), ..since("Tue, 14 Nov 2023 22:13:20 GMT") };
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
