//! Requests that failed for good, and how they come back.
//!
//! A queue itself knows no failures: crawlers mark what they gave up on as handled. What they note beside tells it apart
//! from what worked: some write down a state; all of them keep one error message for each try that failed and count each
//! try but the first as a retry, so that one message too many means that the last try failed, too.

use std::borrow::Cow;
use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::RequestId;
use crate::members::Members;
use crate::queue_stats::host_of;

/// States of a request as crawlers number them in `userData.__crawlee.state`.
const UNPROCESSED: &str = "0";
const ERROR_HANDLER: &str = "5";
const ERROR: &str = "6";

/// Which of the failed requests of a queue go back into it, and how: what every given condition holds for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Requeue {
    /// Only these.
    pub ids: Option<BTreeSet<RequestId>>,
    /// Only those of URLs with one of these hosts, in lower case.
    pub hosts: Option<BTreeSet<String>>,
    /// Only those with one of these methods; case does not count.
    pub methods: Option<Vec<String>>,
    /// Only those with an error message in which this stands.
    pub error_contains: Option<String>,
    /// Only those that were tried again at least as often.
    pub min_retry_count: u32,
    /// At most so many.
    pub limit: Option<u64>,
    /// To the front of the queue instead of its end.
    pub forefront: bool,
    /// As if they had never been tried.
    pub reset_retry_count: bool,
}

/// A failed request as it goes back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revived {
    /// The stored JSON object as it was before its last try, or before the first.
    pub body: Vec<u8>,
    /// The retries that it has now.
    pub retry_count: u32,
}

impl Requeue {
    /// Whether a stored request failed and is meant, whatever its id.
    pub fn selects(&self, body: &[u8]) -> bool {
        Outline::read(body).is_some_and(|outline| self.selects_outline(&outline))
    }

    /// What a stored request becomes when it goes back; `None` if it did not fail or is not meant.
    pub fn revive(&self, body: &[u8]) -> Option<Revived> {
        let outline = Outline::read(body).filter(|outline| self.selects_outline(outline))?;
        let members: Members<'_> = serde_json::from_slice(body).ok()?;
        let mut revived = Vec::with_capacity(body.len());
        write_object(&mut revived, members, |name, value| match name {
            "errorMessages" if self.reset_retry_count => None,
            "errorMessages" => outline.errors_before_the_last_try().map(Cow::Owned),
            _ => self.revive_member(name, value),
        });
        let retry_count = if self.reset_retry_count { 0 } else { outline.retry_count() };
        Some(Revived { body: revived, retry_count })
    }

    fn selects_outline(&self, outline: &Outline<'_>) -> bool {
        let is_host = |hosts: &BTreeSet<String>| host_of(&outline.url).is_some_and(|host| hosts.contains(&host));
        let is_method = |methods: &Vec<String>| methods.iter().any(|one| one.eq_ignore_ascii_case(outline.method()));
        outline.failed()
            && outline.retry_count() >= self.min_retry_count
            && self.methods.as_ref().is_none_or(is_method)
            && self.hosts.as_ref().is_none_or(is_host)
            && self
                .error_contains
                .as_ref()
                .is_none_or(|part| outline.errors().iter().any(|error| mentions(error, part)))
    }

    fn revive_member<'a>(&self, name: &str, value: &'a RawValue) -> Option<Cow<'a, str>> {
        match name {
            "handledAt" => None,
            "retryCount" if self.reset_retry_count => Some(Cow::Borrowed("0")),
            "userData" => Some(edited(value, |name, value| match name {
                "__crawlee" => Some(edited(value, |name, value| match name {
                    "state" => Some(Cow::Borrowed(UNPROCESSED)),
                    "sessionRotationCount" if self.reset_retry_count => None,
                    _ => Some(Cow::Borrowed(value.get())),
                })),
                _ => Some(Cow::Borrowed(value.get())),
            })),
            _ => Some(Cow::Borrowed(value.get())),
        }
    }
}

/// Whether a stored request was given up on.
pub fn has_failed(body: &[u8]) -> bool {
    Outline::read(body).is_some_and(|outline| outline.failed())
}

/// What tells of a stored request how it ended.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Outline<'a> {
    #[serde(borrow)]
    url: Cow<'a, str>,
    #[serde(borrow)]
    method: Option<Cow<'a, str>>,
    retry_count: Option<f64>,
    handled_at: Option<serde::de::IgnoredAny>,
    #[serde(borrow)]
    error_messages: Option<&'a RawValue>,
    #[serde(borrow)]
    user_data: Option<&'a RawValue>,
}

impl<'a> Outline<'a> {
    fn read(body: &'a [u8]) -> Option<Self> {
        serde_json::from_slice(body).ok()
    }

    fn method(&self) -> &str {
        self.method.as_deref().unwrap_or("GET")
    }

    fn retry_count(&self) -> u32 {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "checked when it came; else cut off"
        )]
        let count = self.retry_count.unwrap_or_default() as u32;
        count
    }

    fn failed(&self) -> bool {
        if self.handled_at.is_none() {
            return false;
        }
        match self.crawler_state() {
            Some(ERROR) => true,
            Some(ERROR_HANDLER) => !self.errors().is_empty(),
            Some(_) => false,
            None => self.errors().len() > self.retry_count() as usize,
        }
    }

    fn crawler_state(&self) -> Option<&'a str> {
        #[derive(Deserialize)]
        struct UserData<'a> {
            #[serde(borrow, rename = "__crawlee")]
            crawlee: Option<&'a RawValue>,
        }
        #[derive(Deserialize)]
        struct Crawlee<'a> {
            #[serde(borrow)]
            state: Option<&'a RawValue>,
        }
        let user_data: UserData<'a> = serde_json::from_str(self.user_data?.get()).ok()?;
        let crawlee: Crawlee<'a> = serde_json::from_str(user_data.crawlee?.get()).ok()?;
        crawlee.state.map(RawValue::get)
    }

    fn errors(&self) -> Vec<&'a RawValue> {
        self.error_messages.and_then(|raw| serde_json::from_str(raw.get()).ok()).unwrap_or_default()
    }

    /// The messages of those tries that count as retries, as an array; the last one goes in any case.
    fn errors_before_the_last_try(&self) -> Option<String> {
        let errors = self.errors();
        let kept = errors.len().saturating_sub(1).min(self.retry_count() as usize);
        let texts: Vec<&str> = errors[..kept].iter().map(|raw| raw.get()).collect();
        (!texts.is_empty()).then(|| format!("[{}]", texts.join(",")))
    }
}

/// Whether an error message has `part` in it. A crawler may note anything; what is no text is searched as it stands.
fn mentions(error: &RawValue, part: &str) -> bool {
    serde_json::from_str::<String>(error.get()).map_or_else(|_| error.get().contains(part), |text| text.contains(part))
}

/// The object `raw` with each member as `edit` has it, `None` leaving it out; anything else as it stands.
fn edited<'a>(raw: &'a RawValue, edit: impl Fn(&str, &'a RawValue) -> Option<Cow<'a, str>>) -> Cow<'a, str> {
    let Ok(members) = serde_json::from_str::<Members<'a>>(raw.get()) else { return Cow::Borrowed(raw.get()) };
    let mut out = Vec::with_capacity(raw.get().len());
    write_object(&mut out, members, edit);
    String::from_utf8(out).map_or(Cow::Borrowed(raw.get()), Cow::Owned)
}

fn write_object<'a>(
    out: &mut Vec<u8>,
    members: Members<'a>,
    edit: impl Fn(&str, &'a RawValue) -> Option<Cow<'a, str>>,
) {
    out.push(b'{');
    let mut first = true;
    for (name, value) in members.0 {
        let Some(value) = edit(&name, value) else { continue };
        if !std::mem::take(&mut first) {
            out.push(b',');
        }
        // Writing to memory does not fail.
        let _ = name.serialize(&mut serde_json::Serializer::new(&mut *out));
        out.push(b':');
        out.extend_from_slice(value.as_bytes());
    }
    out.push(b'}');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(handled: bool, errors: &str, state: &str) -> String {
        let handled = if handled { r#""handledAt":"2026-08-31T09:13:25.123Z","# } else { "" };
        format!(
            r#"{{"uniqueKey":"k","url":"https://Ada:x@Shop.example.com:8080/a?b","method":"POST","retryCount":3,{handled}"errorMessages":{errors},"userData":{{"a": 1,"__crawlee":{{"state":{state},"maxRetries":3,"sessionRotationCount":2}}}},"x":[1, 2]}}"#
        )
    }

    #[test]
    fn a_request_failed_if_it_was_handled_and_its_crawler_says_so() {
        for (handled, errors, state, failed) in [
            (true, "[]", "6", true),
            (true, r#"["e"]"#, "6", true),
            (false, r#"["e"]"#, "6", false),
            (true, r#"["e"]"#, "5", true),
            (true, "[ ]", "5", false),
            // It failed at first and worked in the end.
            (true, r#"["e"]"#, "4", false),
            (true, r#"["e"]"#, "7", false),
            (true, r#"["1","2","3","4"]"#, "null", true),
            (true, r#"["1","2","3"]"#, "null", false),
            (true, "[]", "null", false),
            (true, "\"text\"", "null", false),
        ] {
            let body = body(handled, errors, state);
            assert_eq!(has_failed(body.as_bytes()), failed, "{body}");
            assert_eq!(Requeue::default().revive(body.as_bytes()).is_some(), failed, "{body}");
        }
        for (body, failed) in [
            (r#"{"uniqueKey":"k","url":"u","handledAt":"2026-08-31","errorMessages":["e"]}"#, true),
            (r#"{"uniqueKey":"k","url":"u","handledAt":"2026-08-31","errorMessages":["e"],"userData":"text"}"#, true),
            (r#"{"uniqueKey":"k","url":"u","handledAt":null,"errorMessages":["e"]}"#, false),
            (r#"{"uniqueKey":"k","url":"u","handledAt":"2026-08-31"}"#, false),
            ("nonsense", false),
        ] {
            assert_eq!(has_failed(body.as_bytes()), failed, "{body}");
        }
    }

    #[test]
    fn a_request_that_goes_back_loses_all_traces_of_its_failure_and_nothing_else() {
        let failed = body(true, r#"["e"]"#, "6");

        let kept = Requeue::default().revive(failed.as_bytes()).unwrap();
        assert_eq!(kept.retry_count, 3);
        assert_eq!(
            String::from_utf8(kept.body).unwrap(),
            r#"{"uniqueKey":"k","url":"https://Ada:x@Shop.example.com:8080/a?b","method":"POST","retryCount":3,"userData":{"a":1,"__crawlee":{"state":0,"maxRetries":3,"sessionRotationCount":2}},"x":[1, 2]}"#
        );
        let reset = Requeue { reset_retry_count: true, ..Requeue::default() }.revive(failed.as_bytes()).unwrap();
        assert_eq!(reset.retry_count, 0);
        assert_eq!(
            String::from_utf8(reset.body).unwrap(),
            r#"{"uniqueKey":"k","url":"https://Ada:x@Shop.example.com:8080/a?b","method":"POST","retryCount":0,"userData":{"a":1,"__crawlee":{"state":0,"maxRetries":3}},"x":[1, 2]}"#
        );
    }

    #[test]
    fn a_request_that_fails_or_works_after_it_went_back_is_known_again() {
        let failed = body(true, r#"["1",{"a": 2},"3","4"]"#, "null");
        let revived = Requeue::default().revive(failed.as_bytes()).unwrap();
        let text = String::from_utf8(revived.body).unwrap();
        assert!(text.contains(r#""retryCount":3,"errorMessages":["1",{"a": 2},"3"],"#), "{text}");

        let handled = |errors: &str| text.replace(r#""3"],"#, &format!(r#"{errors}],"handledAt":"2026-08-31","#));
        let handled = |errors: &str| handled(errors).replace(r#""state":0"#, r#""state":null"#);
        assert!(has_failed(handled(r#""3","5""#).as_bytes()));
        assert!(!has_failed(handled(r#""3""#).as_bytes()));
    }

    #[test]
    fn all_conditions_must_hold() {
        let failed = body(true, r#"["Error: net\u0020timeout",{"code":5}]"#, "6");
        let texts = |texts: &[&str]| Some(texts.iter().map(|text| (*text).to_owned()).collect());
        let set = |texts: &[&str]| Some(texts.iter().map(|text| (*text).to_owned()).collect());
        let any = Requeue::default;

        for (requeue, selected) in [
            (any(), true),
            (Requeue { hosts: set(&["other", "shop.example.com"]), ..any() }, true),
            (Requeue { hosts: set(&["example.com"]), ..any() }, false),
            (Requeue { hosts: set(&[]), ..any() }, false),
            (Requeue { methods: texts(&["post"]), ..any() }, true),
            (Requeue { methods: texts(&["GET"]), ..any() }, false),
            (Requeue { error_contains: Some("net timeout".to_owned()), ..any() }, true),
            (Requeue { error_contains: Some("\"code\":5".to_owned()), ..any() }, true),
            (Requeue { error_contains: Some("Timeout".to_owned()), ..any() }, false),
            (Requeue { min_retry_count: 3, ..any() }, true),
            (Requeue { min_retry_count: 4, ..any() }, false),
            (Requeue { min_retry_count: 4, methods: texts(&["POST"]), ..any() }, false),
        ] {
            assert_eq!(requeue.selects(failed.as_bytes()), selected, "{requeue:?}");
        }
    }
}
