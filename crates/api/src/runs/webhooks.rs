//! Webhooks in the query of a start (`START-14`).

use base64::Engine as _;
use base64::alphabet::{STANDARD, URL_SAFE};
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use engine::{AdHocWebhook, Caller, Engine};
use serde_json::{Map, Value};

use crate::error::ApiError;
use crate::extract::Params;
use crate::wire::WebhookGiven;

/// Webhooks that one start may have.
const MAX_WEBHOOKS: usize = 100;

/// Reads the parameter `webhooks`: base64, in either alphabet and padded or not, of a JSON array.
pub(super) fn webhooks(params: &Params) -> Result<Vec<WebhookGiven>, ApiError> {
    let Some(encoded) = params.non_empty("webhooks") else { return Ok(Vec::new()) };
    let lenient = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    // A plus sign that was not encoded has become a space.
    let encoded = encoded.replace(' ', "+");
    let decoded = GeneralPurpose::new(&STANDARD, lenient)
        .decode(&encoded)
        .or_else(|_| GeneralPurpose::new(&URL_SAFE, lenient).decode(&encoded))
        .map_err(|_| refused("it must be base64"))?;
    let webhooks: Vec<Map<String, Value>> =
        serde_json::from_slice(&decoded).map_err(|_| refused("it must be a JSON array of objects in base64"))?;
    if webhooks.len() > MAX_WEBHOOKS {
        return Err(refused(&format!("it may have {MAX_WEBHOOKS} webhooks")));
    }
    let read = |webhook: Map<String, Value>| serde_json::from_value(webhook.into());
    webhooks.into_iter().map(read).collect::<Result<_, _>>().map_err(|error| refused(&error.to_string()))
}

/// Checks them (`WH-8`).
pub(super) fn checked(given: &[WebhookGiven], engine: &Engine, caller: &Caller) -> Result<Vec<AdHocWebhook>, ApiError> {
    given.iter().map(|webhook| webhook.ad_hoc(engine, caller).map_err(|error| refused(&error.to_string()))).collect()
}

fn refused(why: &str) -> ApiError {
    ApiError::invalid_request(format!("Parameter \"webhooks\" is invalid: {why}"))
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose;

    use super::*;
    use crate::error::Problem;

    fn read(encoded: &str) -> Result<Vec<WebhookGiven>, ApiError> {
        webhooks(&Params::of(&format!("/?webhooks={encoded}").parse().unwrap()))
    }

    #[test]
    fn webhooks_are_read_in_both_alphabets_and_refused_if_they_cannot_be() {
        let good = r#"[{"eventTypes":["ACTOR.RUN.SUCCEEDED"],"requestUrl":"http://example.com/??>>"}]"#;
        for (encoded, count) in [
            (general_purpose::STANDARD.encode(good), 1),
            (general_purpose::STANDARD.encode(good).replace('=', "%3D").replace('+', "%2B").replace('/', "%2F"), 1),
            (general_purpose::URL_SAFE_NO_PAD.encode(good), 1),
            (general_purpose::STANDARD.encode("[]"), 0),
            (String::new(), 0),
        ] {
            assert_eq!(read(&encoded).unwrap().len(), count, "{encoded}");
        }
        let many = format!("[{}{{}}]", "{},".repeat(MAX_WEBHOOKS));
        for bad in ["{}", "[1]", "x", "", r#"[{"eventTypes":"A"}]"#, r#"[{"requestUrl":1}]"#, &many] {
            let encoded = general_purpose::URL_SAFE_NO_PAD.encode(bad);
            if !encoded.is_empty() {
                assert_eq!(read(&encoded).unwrap_err().problem(), Problem::InvalidRequest, "{bad}");
            }
        }
        assert!(read("!!!").is_err());
    }
}
