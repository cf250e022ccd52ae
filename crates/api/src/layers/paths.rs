//! Other spellings of paths and methods, brought to the one that the router knows.

use std::borrow::Cow;

use http::{Method, Uri};

use crate::error::ApiError;
use crate::extract::Params;

/// The method that `?method=` asks for (`HTTP-4`).
///
/// It is meant for clients that can only send GET; a POST may be overridden too, other methods say what they mean.
pub(super) fn overriding_method(method: &Method, uri: &Uri) -> Result<Option<Method>, ApiError> {
    if !matches!(*method, Method::GET | Method::POST) || !uri.query().is_some_and(|query| query.contains("method=")) {
        return Ok(None);
    }
    let params = Params::of(uri);
    let Some(name) = params.non_empty("method") else { return Ok(None) };
    [Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::DELETE]
        .into_iter()
        .find(|method| name.eq_ignore_ascii_case(method.as_str()))
        .map(Some)
        .ok_or_else(|| {
            ApiError::invalid_request("Parameter \"method\" is invalid: it must be one of GET, HEAD, POST, PUT, DELETE")
        })
}

/// The path as the router knows it, if it was spelled otherwise:
///
/// - `/v2/acts…` is `/v2/actors…` (`HTTP-3`);
/// - a base URL with a slash at its end makes two at the start;
/// - a slash at the end means nothing, **but not with PUT and DELETE**: `DELETE …/records/..` loses its last two segments on
///   the way, and what is left, `DELETE /key-value-stores/{id}/`, must not delete the store (`K1`).
pub(super) fn usual_spelling<'a>(method: &Method, path: &'a str) -> Option<Cow<'a, str>> {
    let mut usual = path;
    while usual.starts_with("//") {
        usual = &usual[1..];
    }
    if usual.len() > 1 && !matches!(*method, Method::PUT | Method::DELETE) {
        usual = usual.strip_suffix('/').unwrap_or(usual);
    }
    if let Some(rest) = usual.strip_prefix("/v2/acts")
        && (rest.is_empty() || rest.starts_with('/'))
    {
        return Some(Cow::Owned(format!("/v2/actors{rest}")));
    }
    (usual.len() != path.len()).then_some(Cow::Borrowed(usual))
}

/// The address with another path.
pub(super) fn with_path(uri: &Uri, path: &str) -> Option<Uri> {
    let path_and_query = match uri.query() {
        Some(query) => format!("{path}?{query}"),
        None => path.to_owned(),
    };
    Uri::try_from(path_and_query).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn spelled(method: &Method, path: &str) -> String {
        usual_spelling(method, path).map_or(path.to_owned(), Cow::into_owned)
    }

    #[test]
    fn other_spellings_are_brought_to_the_usual_one() {
        for (path, usual) in [
            ("/v2/acts", "/v2/actors"),
            ("/v2/acts/me~x/runs/last/", "/v2/actors/me~x/runs/last"),
            ("/v2/actsome", "/v2/actsome"),
            ("//v2/datasets", "/v2/datasets"),
            ("/v2/datasets/", "/v2/datasets"),
            ("/", "/"),
            ("//", "/"),
            ("", ""),
        ] {
            assert_eq!(spelled(&Method::GET, path), usual, "{path}");
        }
    }

    #[test]
    fn a_trailing_slash_is_not_trimmed_from_what_changes_or_deletes() {
        for method in [Method::PUT, Method::DELETE] {
            assert_eq!(spelled(&method, "/v2/key-value-stores/x/"), "/v2/key-value-stores/x/");
        }
        assert_eq!(spelled(&Method::POST, "/v2/datasets/x/items/"), "/v2/datasets/x/items");
    }

    #[test]
    fn only_methods_that_exist_override_others() {
        let uri = |text: &str| text.parse::<Uri>().unwrap();

        assert_eq!(overriding_method(&Method::GET, &uri("/?a=1&method=post")).unwrap(), Some(Method::POST));
        assert_eq!(overriding_method(&Method::GET, &uri("/?submethod=post")).unwrap(), None);
        assert_eq!(overriding_method(&Method::PUT, &uri("/?method=DELETE")).unwrap(), None);
        assert!(overriding_method(&Method::GET, &uri("/?method=BREW")).is_err());
    }

    proptest! {
        #[test]
        fn any_path_has_a_usual_spelling_that_stays(path in "[/a-z0-9%~.]{0,24}") {
            let once = spelled(&Method::GET, &path);
            if !once.ends_with('/') {
                prop_assert_eq!(spelled(&Method::GET, &once), once);
            }
        }
    }
}
