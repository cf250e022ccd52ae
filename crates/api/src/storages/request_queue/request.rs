//! Requests as clients send them and get them back (storages, section 9.2).

use std::borrow::Cow;
use std::fmt;
use std::io::Write as _;

use model::members::Members;
use model::{RequestId, Timestamp};
use serde::de::{Deserialize, Deserializer, IgnoredAny, SeqAccess, Visitor};
use serde_json::value::RawValue;
use store::{NewRequest, StoredRequest};

use crate::error::{ApiError, Problem};

/// The members of a request that the queue must know or that come first, in the order in which they are kept.
const KNOWN: [&str; 11] = [
    "uniqueKey",
    "url",
    "method",
    "retryCount",
    "payload",
    "headers",
    "userData",
    "noRetry",
    "errorMessages",
    "loadedUrl",
    "handledAt",
];
const UNIQUE_KEY: usize = 0;
const URL: usize = 1;
const METHOD: usize = 2;
const RETRY_COUNT: usize = 3;
const HEADERS: usize = 5;
const HANDLED_AT: usize = 10;

/// What the queue itself adds to a request, and ignores when it comes back (`Q13`).
const OWNED_BY_QUEUE: [&str; 4] = ["id", "orderNo", "lockExpiresAt", "lockByClient"];

/// Reads a request that is to be stored (`Q3` to `Q6`). `what` names it in messages.
pub(super) fn read(raw: &RawValue, what: &dyn fmt::Display) -> Result<NewRequest, ApiError> {
    let invalid = |why: &str| ApiError::new(Problem::InvalidInput, format!("{what} is invalid: {why}"));
    let members: Members<'_> = serde_json::from_str(raw.get()).map_err(|error| invalid(&error.to_string()))?;

    let mut known: [Option<&RawValue>; KNOWN.len()] = [None; KNOWN.len()];
    let mut given_id = None;
    let mut others = Vec::new();
    for (name, value) in members.0 {
        if let Some(at) = KNOWN.iter().position(|known| *known == name) {
            // Of a name that comes twice the last counts.
            known[at] = Some(value).filter(|value| value.get() != "null");
        } else if name == "id" {
            given_id = Some(value).filter(|value| value.get() != "null");
        } else if value.get() != "null" && !OWNED_BY_QUEUE.contains(&&*name) {
            others.push((name, value));
        }
    }

    let text = |at: usize| {
        known[at].map(|value| text(value).ok_or_else(|| invalid(&format!("\"{}\" must be a string", KNOWN[at]))))
    };
    let needed = |at: usize| match text(at).transpose()? {
        Some(text) if !text.is_empty() => Ok(text),
        _ => Err(invalid(&format!("\"{}\" is required", KNOWN[at]))),
    };
    let unique_key = needed(UNIQUE_KEY)?;
    let url = needed(URL)?;
    let method = text(METHOD).transpose()?.unwrap_or(Cow::Borrowed("GET"));
    let retry_count = match known[RETRY_COUNT] {
        Some(value) => {
            whole_number(value).ok_or_else(|| invalid("\"retryCount\" must be a whole number of at least 0"))?
        }
        None => 0,
    };
    if known[HEADERS].is_some_and(|headers| !headers.get().starts_with('{')) {
        return Err(invalid("\"headers\" must be an object"));
    }
    let handled_at = match text(HANDLED_AT).transpose()? {
        Some(text) => {
            let date =
                Timestamp::parse(&text).ok_or_else(|| invalid("\"handledAt\" must be a date in ISO 8601 form"))?;
            Some((date, text))
        }
        None => None,
    };
    let id = RequestId::of(&unique_key);
    if let Some(given) = given_id
        && self::text(given).is_none_or(|given| given != id.as_str())
    {
        return Err(id_mismatch());
    }

    let mut body = Vec::with_capacity(raw.get().len() + 32);
    body.extend_from_slice(b"{\"uniqueKey\":");
    body.extend_from_slice(known[UNIQUE_KEY].map_or("\"\"", RawValue::get).as_bytes());
    for (at, name) in KNOWN.iter().enumerate().skip(1) {
        let value: Cow<'_, str> = match (at, known[at]) {
            (METHOD, None) => Cow::Borrowed("\"GET\""),
            (RETRY_COUNT, None) => Cow::Borrowed("0"),
            (HANDLED_AT, Some(given)) => match &handled_at {
                // Python refuses dates without a zone.
                Some((date, text)) if !has_zone(text) => Cow::Owned(format!("\"{date}\"")),
                _ => Cow::Borrowed(given.get()),
            },
            (_, Some(value)) => Cow::Borrowed(value.get()),
            (_, None) => continue,
        };
        // Writing to memory does not fail.
        let _ = write!(body, ",\"{name}\":{value}");
    }
    for (name, value) in others {
        body.push(b',');
        let _ = serde_json::to_writer(&mut body, &name);
        let _ = write!(body, ":{}", value.get());
    }
    body.push(b'}');

    Ok(NewRequest {
        id,
        url: url.into_owned(),
        method: method.into_owned(),
        retry_count,
        handled_at: handled_at.map(|(date, _)| date),
        body: body.into(),
        unique_key: unique_key.into_owned(),
    })
}

/// The answer when an id is not the one of the unique key (`Q3`).
pub(super) fn id_mismatch() -> ApiError {
    ApiError::new(Problem::RequestIdInvalid, "Request ID does not correspond to uniqueKey")
}

/// Appends a stored request as clients get it (`Q7`): its members, its id and its lock.
pub(super) fn write(request: &StoredRequest, out: &mut Vec<u8>) {
    let members = request.body.strip_prefix(b"{").and_then(|body| body.strip_suffix(b"}")).unwrap_or_default();
    let _ = write!(out, "{{\"id\":\"{}\",", request.id);
    out.extend_from_slice(members);
    if let Some(expires_at) = request.lock_expires_at {
        let _ = write!(out, ",\"lockExpiresAt\":\"{expires_at}\"");
        if let Some(client) = &request.lock_by {
            out.extend_from_slice(b",\"lockByClient\":");
            let _ = serde_json::to_writer(&mut *out, client);
        }
    }
    out.push(b'}');
}

/// The unique key of a stored request.
pub(super) fn unique_key(request: &StoredRequest) -> Option<String> {
    #[derive(serde::Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Identity {
        unique_key: String,
    }
    serde_json::from_slice::<Identity>(&request.body).ok().map(|identity| identity.unique_key)
}

/// The text of a JSON string; `None` for any other value.
pub(super) fn text(value: &RawValue) -> Option<Cow<'_, str>> {
    serde_json::from_str::<Text<'_>>(value.get()).ok().map(|text| text.0)
}

fn whole_number(value: &RawValue) -> Option<u32> {
    let number: f64 = serde_json::from_str(value.get()).ok()?;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the range is checked")]
    (number.fract() == 0.0 && (0.0..=f64::from(u32::MAX)).contains(&number)).then_some(number as u32)
}

/// Whether a date that was read says in which zone it is.
fn has_zone(date: &str) -> bool {
    let time = date.trim().get(10..).unwrap_or_default();
    time.ends_with(['Z', 'z']) || time.contains(['+', '-'])
}

/// A string that is borrowed from the text if it has no escapes.
#[derive(serde::Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// The elements of an array as they stand in the text: all of them, or one more than `LIMIT` if there are more.
pub(super) struct Elements<'a, const LIMIT: usize>(pub(super) Vec<&'a RawValue>);

impl<'de, const LIMIT: usize> Deserialize<'de> for Elements<'de, LIMIT> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader<const LIMIT: usize>;
        impl<'de, const LIMIT: usize> Visitor<'de> for Reader<LIMIT> {
            type Value = Elements<'de, LIMIT>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an array of objects")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
                let mut elements = Vec::with_capacity(LIMIT + 1);
                while elements.len() <= LIMIT {
                    let Some(element) = seq.next_element()? else { return Ok(Elements(elements)) };
                    elements.push(element);
                }
                while seq.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Elements(elements))
            }
        }
        deserializer.deserialize_seq(Reader::<LIMIT>)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    fn read_text(text: &str) -> Result<NewRequest, ApiError> {
        read(serde_json::from_str(text).unwrap(), &"The request")
    }

    fn body(request: &NewRequest) -> &str {
        std::str::from_utf8(&request.body).unwrap()
    }

    #[test]
    fn a_request_keeps_what_it_has_but_nulls_and_what_is_the_queues() {
        let request = read_text(
            r#" {"id":"8OamqXBCpPHxyH9","orderNo":1,"lockByClient":"x","lockExpiresAt":"y","url":"http://a b","uniqueKey":"http://example.com",
                "handledAt":null,"loadedUrl":null,"payload":{"a": 1},"crawlDepth":3,"sess\u0069onId":"s","x":null} "#,
        )
        .unwrap();

        assert_eq!(request.id.as_str(), "8OamqXBCpPHxyH9");
        assert_eq!(
            body(&request),
            r#"{"uniqueKey":"http://example.com","url":"http://a b","method":"GET","retryCount":0,"payload":{"a": 1},"crawlDepth":3,"sessionId":"s"}"#
        );
        assert_eq!((request.method.as_str(), request.retry_count, request.handled_at), ("GET", 0, None));
    }

    #[test]
    fn a_handled_request_has_a_date_with_a_zone() {
        for (given, kept) in [
            ("2026-08-31T09:13:25.123Z", "2026-08-31T09:13:25.123Z"),
            ("2026-08-31T09:13:25.123456+00:00", "2026-08-31T09:13:25.123456+00:00"),
            ("2026-08-31T09:13:25", "2026-08-31T09:13:25.000Z"),
        ] {
            let request = read_text(&format!(r#"{{"uniqueKey":"k","url":"u","handledAt":"{given}"}}"#)).unwrap();

            assert!(request.handled_at.is_some());
            assert!(body(&request).contains(&format!(r#""handledAt":"{kept}""#)), "{}", body(&request));
        }
    }

    #[test]
    fn what_cannot_be_a_request_is_refused() {
        for (text, problem) in [
            ("5", Problem::InvalidInput),
            ("[]", Problem::InvalidInput),
            ("{}", Problem::InvalidInput),
            (r#"{"url":"u"}"#, Problem::InvalidInput),
            (r#"{"uniqueKey":"","url":"u"}"#, Problem::InvalidInput),
            (r#"{"uniqueKey":"k","url":5}"#, Problem::InvalidInput),
            (r#"{"uniqueKey":"k","url":"u","headers":[]}"#, Problem::InvalidInput),
            (r#"{"uniqueKey":"k","url":"u","retryCount":-1}"#, Problem::InvalidInput),
            (r#"{"uniqueKey":"k","url":"u","retryCount":"1"}"#, Problem::InvalidInput),
            (r#"{"uniqueKey":"k","url":"u","handledAt":"soon"}"#, Problem::InvalidInput),
            (r#"{"uniqueKey":"k","url":"u","handledAt":true}"#, Problem::InvalidInput),
            (r#"{"uniqueKey":"k","url":"u","id":"8OamqXBCpPHxyH9"}"#, Problem::RequestIdInvalid),
            (r#"{"uniqueKey":"k","url":"u","id":5}"#, Problem::RequestIdInvalid),
            (r#"{"uniqueKey":"\ud800","url":"u"}"#, Problem::InvalidInput),
        ] {
            assert_eq!(read_text(text).unwrap_err().problem(), problem, "{text}");
        }
    }

    #[test]
    fn the_last_of_two_members_counts() {
        let request =
            read_text(r#"{"uniqueKey":"a","uniqueKey":"b","url":"u","handledAt":"2026-08-31","handledAt":null}"#)
                .unwrap();

        assert_eq!((request.unique_key.as_str(), request.handled_at), ("b", None));
        assert_eq!(body(&request), r#"{"uniqueKey":"b","url":"u","method":"GET","retryCount":0}"#);
    }

    #[test]
    fn a_batch_is_cut_behind_its_limit() {
        let count = |text: &str| serde_json::from_str::<Elements<'_, 2>>(text).map(|elements| elements.0.len()).ok();

        assert_eq!(count("[]"), Some(0));
        assert_eq!(count("[1,2]"), Some(2));
        assert_eq!(count("[1,2,3,4,5]"), Some(3));
        assert_eq!(count("[1,2,3,4,"), None);
        assert_eq!(count("{}"), None);
    }

    proptest! {
        #[test]
        fn what_is_kept_is_json_with_the_members_that_came(
            key in "\\PC{1,12}", name in "[a-zé\"\\\\]{1,6}", value in "\\PC{0,12}", retries in 0_u32..9,
        ) {
            prop_assume!(!KNOWN.contains(&name.as_str()) && !OWNED_BY_QUEUE.contains(&name.as_str()));
            let text = serde_json::json!({ "uniqueKey": key, "url": "u", "retryCount": retries, &name: value }).to_string();

            let request = read_text(&text).unwrap();
            let mut out = Vec::new();
            write(&StoredRequest { id: request.id, body: request.body, lock_expires_at: None, lock_by: None }, &mut out);

            let back: Value = serde_json::from_slice(&out).unwrap();
            prop_assert_eq!(&back["uniqueKey"], &Value::from(key));
            prop_assert_eq!(&back[&name], &Value::from(value));
            prop_assert_eq!(&back["retryCount"], &Value::from(retries));
        }
    }
}
