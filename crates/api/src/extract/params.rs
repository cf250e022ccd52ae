//! Parameters in the query and in the path.

use std::borrow::Cow;
use std::convert::Infallible;

use axum::extract::rejection::RawPathParamsRejection;
use axum::extract::{FromRequestParts, RawPathParams};
use http::Uri;
use http::request::Parts;
use model::{MAX_LIMIT, Page, Timestamp};

use crate::error::{ApiError, Problem};

/// The query, looked up by name.
///
/// Nothing is parsed before it is asked for: most requests have a short query or none, and handlers ask for few names.
#[derive(Clone, Debug, Default)]
pub(crate) struct Params {
    uri: Uri,
}

impl Params {
    /// The query of an address.
    pub(crate) fn of(uri: &Uri) -> Self {
        // The parts of an address share one buffer, so this copies no text.
        Self { uri: uri.clone() }
    }

    /// Every value of that name, decoded, in order.
    fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = Cow<'a, str>> {
        let query = self.uri.query().unwrap_or_default();
        query.split('&').filter_map(move |pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decode(key) == name).then(|| decode(value))
        })
    }

    /// The first value of that name.
    pub(crate) fn text<'a>(&'a self, name: &'a str) -> Option<Cow<'a, str>> {
        self.all(name).next()
    }

    /// The first value of that name that is not empty.
    pub(crate) fn non_empty<'a>(&'a self, name: &'a str) -> Option<Cow<'a, str>> {
        self.all(name).next().filter(|value| !value.is_empty())
    }

    /// A boolean; absent and empty are false (`G2`, `HTTP-10`).
    pub(crate) fn flag(&self, name: &str) -> Result<bool, ApiError> {
        Ok(self.maybe_flag(name)?.unwrap_or(false))
    }

    /// A boolean that may be absent.
    pub(crate) fn maybe_flag(&self, name: &str) -> Result<Option<bool>, ApiError> {
        match self.text(name).as_deref() {
            None | Some("") => Ok(None),
            Some("1" | "true") => Ok(Some(true)),
            Some("0" | "false") => Ok(Some(false)),
            Some(_) => Err(invalid(name, "must be one of true, false, 1, 0")),
        }
    }

    /// A whole number of at least 0 (`G4`); absent and empty are `None`.
    pub(crate) fn number(&self, name: &str) -> Result<Option<u64>, ApiError> {
        let Some(text) = self.non_empty(name) else { return Ok(None) };
        // The schema calls these numbers doubles, so a whole one may come as `10.0` or `1e3`.
        let number = text.parse::<u64>().ok().or_else(|| {
            let number = text.parse::<f64>().ok()?;
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates, which is meant")]
            (number >= 0.0 && number.is_finite() && number.fract() == 0.0).then_some(number as u64)
        });
        // Beyond what a signed number holds there is nothing to count.
        number
            .map(|number| Some(number.min(i64::MAX.unsigned_abs())))
            .ok_or_else(|| invalid(name, "must be a whole number of at least 0"))
    }

    /// A number greater than 0, whole or not; absent and empty are `None`.
    pub(crate) fn positive(&self, name: &str) -> Result<Option<f64>, ApiError> {
        let Some(text) = self.non_empty(name) else { return Ok(None) };
        match text.parse::<f64>() {
            Ok(number) if number > 0.0 && number.is_finite() => Ok(Some(number)),
            _ => Err(invalid(name, "must be a number greater than 0")),
        }
    }

    /// Comma-joined names without the spaces around them (`G3`); a repeated parameter adds to the list.
    pub(crate) fn list(&self, name: &str) -> Vec<String> {
        let values = self.all(name);
        values
            .flat_map(|value| value.split(',').map(|name| name.trim().to_owned()).collect::<Vec<_>>())
            .filter(|name| !name.is_empty())
            .collect()
    }

    /// A date in any ISO 8601 form (`VAL-2`).
    pub(crate) fn date(&self, name: &str) -> Result<Option<Timestamp>, ApiError> {
        let Some(text) = self.non_empty(name) else { return Ok(None) };
        // A plus sign that was not encoded has become a space: `12:00:00 02:00`.
        Timestamp::parse(&text)
            .or_else(|| Timestamp::parse(&plus_restored(&text)?))
            .map(Some)
            .ok_or_else(|| invalid(name, "must be a date in ISO 8601 form"))
    }

    /// `offset`, `limit` and `desc` of a list (`LIST-2`).
    pub(crate) fn page(&self) -> Result<Page, ApiError> {
        let offset = self.number("offset")?.unwrap_or(0);
        let limit = self.number("limit")?.unwrap_or(MAX_LIMIT);
        Ok(Page::clamped(offset, limit, self.flag("desc")?))
    }
}

fn plus_restored(text: &str) -> Option<String> {
    let (at, _) = text.char_indices().rev().find(|(_, character)| *character == ' ')?;
    Some(format!("{}+{}", &text[..at], &text[at + 1..]))
}

fn invalid(name: &str, why: &str) -> ApiError {
    ApiError::invalid_request(format!("Parameter \"{name}\" is invalid: it {why}"))
}

/// Undoes `+` and percent signs. What is not UTF-8 becomes replacement characters, which match nothing.
fn decode(text: &str) -> Cow<'_, str> {
    if !text.bytes().any(|byte| matches!(byte, b'+' | b'%')) {
        return Cow::Borrowed(text);
    }
    let spaced = text.replace('+', " ");
    Cow::Owned(percent_encoding::percent_decode_str(&spaced).decode_utf8_lossy().into_owned())
}

impl<S: Send + Sync> FromRequestParts<S> for Params {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self::of(&parts.uri))
    }
}

/// A meaning that a query can have.
pub(crate) trait FromParams: Sized {
    /// Reads it, or says which parameter is wrong.
    fn from_params(params: &Params) -> Result<Self, ApiError>;
}

/// A query with a meaning.
#[derive(Clone, Debug)]
pub(crate) struct Query<T>(pub(crate) T);

impl<S: Send + Sync, T: FromParams> FromRequestParts<S> for Query<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        T::from_params(&Params::of(&parts.uri)).map(Self)
    }
}

impl FromParams for Page {
    fn from_params(params: &Params) -> Result<Self, ApiError> {
        params.page()
    }
}

/// The parameters of the path, decoded once (`G11`, `K2`).
#[derive(Debug)]
pub(crate) struct PathParams(RawPathParams);

impl PathParams {
    /// The parameter of that name, empty if the route has none.
    pub(crate) fn get(&self, name: &str) -> &str {
        self.find(name).unwrap_or_default()
    }

    /// The parameter of that name, if the route has one.
    pub(crate) fn find(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(found, _)| *found == name).map(|(_, value)| value)
    }
}

impl<S: Send + Sync> FromRequestParts<S> for PathParams {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        match RawPathParams::from_request_parts(parts, state).await {
            Ok(params) => Ok(Self(params)),
            // Bytes that are no text name nothing; of a record key the contract says how to refuse it (`K1`).
            Err(RawPathParamsRejection::InvalidUtf8InPathParam(_)) if parts.uri.path().contains("/records/") => {
                Err(ApiError::invalid_record_key())
            }
            Err(RawPathParamsRejection::InvalidUtf8InPathParam(_)) => {
                Err(ApiError::new(Problem::RecordNotFound, "The path is not valid UTF-8, so it names nothing"))
            }
            Err(error) => Err(ApiError::internal(anyhow::Error::new(error))),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn params(query: &str) -> Params {
        Params::of(&format!("/?{query}").parse().unwrap())
    }

    #[test]
    fn booleans_come_in_four_spellings() {
        let params = params("a=1&b=true&c=0&d=false&e=&f&g=yes&h=TRUE");

        for (name, value) in
            [("a", true), ("b", true), ("c", false), ("d", false), ("e", false), ("f", false), ("x", false)]
        {
            assert_eq!(params.flag(name).unwrap(), value, "{name}");
        }
        for name in ["g", "h"] {
            assert_eq!(params.flag(name).unwrap_err().problem(), Problem::InvalidRequest);
        }
    }

    #[test]
    fn numbers_are_whole_and_not_negative() {
        for (text, number) in [("0", 0), ("25", 25), ("10.0", 10), ("1e3", 1000), ("1e300", i64::MAX as u64)] {
            assert_eq!(params(&format!("n={text}")).number("n").unwrap(), Some(number), "{text}");
        }
        assert_eq!(params("n=").number("n").unwrap(), None);
        assert_eq!(params("m=1").number("n").unwrap(), None);
        for text in ["-1", "NaN", "1.5", "ten", "Infinity", "-0.5", "0x10", "1 2"] {
            let error = params(&format!("n={}", text.replace(' ', "+"))).number("n").unwrap_err();
            assert_eq!(error.problem(), Problem::InvalidRequest, "{text}");
        }
    }

    #[test]
    fn lists_are_joined_by_commas() {
        assert_eq!(params("f=a%2C%20b,,c&f=d").list("f"), ["a", "b", "c", "d"]);
        assert_eq!(params("f=").list("f"), Vec::<String>::new());
    }

    #[test]
    fn dates_keep_their_offset_even_if_the_plus_was_not_encoded() {
        let expected = Timestamp::parse("2026-08-31T09:13:25Z");

        for text in ["2026-08-31T09:13:25Z", "2026-08-31T11:13:25%2B02:00", "2026-08-31T11:13:25+02:00"] {
            assert_eq!(params(&format!("d={text}")).date("d").unwrap(), expected, "{text}");
        }
        assert!(params("d=soon").date("d").is_err());
    }

    #[test]
    fn names_and_values_are_decoded_once() {
        let params = params("client%4bey=a%2Bb+c%2525&x=%ff");

        assert_eq!(params.text("clientKey").unwrap(), "a+b c%25");
        assert_eq!(params.text("x").unwrap(), "\u{fffd}");
    }

    proptest! {
        #[test]
        fn any_query_is_answered(query in "[a-z0-9%+&=,.:-]{0,64}") {
            if let Ok(uri) = format!("/?{query}").parse::<Uri>() {
                let params = Params::of(&uri);
                for name in ["a", "limit", "offset", "desc"] {
                    let _ = (params.number(name), params.flag(name), params.list(name), params.date(name), params.page());
                }
            }
        }

        #[test]
        fn what_a_client_encodes_comes_back(name in "[a-zA-Z]{1,8}", value in "\\PC{0,32}") {
            let query = form_urlencoded::Serializer::new(String::new()).append_pair(&name, &value).finish();

            let params = params(&query);

            prop_assert_eq!(params.text(&name).unwrap(), value.as_str());
        }
    }
}
