//! Settings of Standby (`ACT-11`). They are kept and shown; what they ask for comes with Standby itself.

use serde_json::{Map, Value, json};

use crate::error::{ApiError, Problem};

/// The settings `given` over those that are there, or over the defaults if there are none yet.
///
/// # Errors
/// `400` for unknown fields and for values that break a rule.
pub(crate) fn merged(old: Option<&Value>, given: &Map<String, Value>) -> Result<Value, ApiError> {
    let mut settings = defaults();
    settings.extend(old.and_then(Value::as_object).cloned().unwrap_or_default());
    for (name, value) in given {
        let Some(known) = settings.get(name) else {
            return Err(ApiError::invalid_request(format!("\"actorStandby\" has no field \"{name}\"")));
        };
        let fits = std::mem::discriminant(known) == std::mem::discriminant(value)
            && (!value.is_number() || value.as_u64().is_some());
        if value.is_null() {
            continue;
        }
        if !fits {
            return Err(ApiError::invalid_request(format!("\"actorStandby.{name}\" has the wrong type")));
        }
        settings.insert(name.clone(), value.clone());
    }

    let number = |name: &str| settings.get(name).and_then(Value::as_u64).unwrap_or_default();
    let refused = |message: &'static str| Err(ApiError::new(Problem::InvalidValue, message));
    if number("desiredRequestsPerActorRun") < 1 {
        return refused("Desired requests must be at least 1.");
    }
    if number("maxRequestsPerActorRun") < number("desiredRequestsPerActorRun") {
        return refused("Max requests must be greater than or equal to desired requests.");
    }
    if number("idleTimeoutSecs") < 5 {
        return refused("Idle timeout must be at least 5 seconds.");
    }
    Ok(Value::Object(settings))
}

fn defaults() -> Map<String, Value> {
    let defaults = json!({
        "isEnabled": false,
        "desiredRequestsPerActorRun": 3,
        "maxRequestsPerActorRun": 4,
        "idleTimeoutSecs": 300,
        "build": "latest",
        "memoryMbytes": 1024,
        "shouldPassActorInput": false,
        "disableStandbyFieldsOverride": false,
    });
    defaults.as_object().cloned().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(value: Value) -> Map<String, Value> {
        value.as_object().unwrap().clone()
    }

    #[test]
    fn settings_are_merged_over_stored_ones_over_defaults() {
        let first =
            merged(None, &given(json!({ "isEnabled": true, "maxRequestsPerActorRun": 9, "build": null }))).unwrap();
        let second = merged(Some(&first), &given(json!({ "isEnabled": false }))).unwrap();

        assert_eq!((&first["isEnabled"], &first["build"]), (&json!(true), &json!("latest")));
        assert_eq!((&second["isEnabled"], &second["maxRequestsPerActorRun"]), (&json!(false), &json!(9)));
    }

    #[test]
    fn settings_that_break_a_rule_are_refused() {
        for bad in [
            json!({ "x": 1 }),
            json!({ "isEnabled": 1 }),
            json!({ "idleTimeoutSecs": 4 }),
            json!({ "idleTimeoutSecs": -1 }),
            json!({ "idleTimeoutSecs": 5.5 }),
            json!({ "desiredRequestsPerActorRun": 0 }),
            json!({ "desiredRequestsPerActorRun": 5 }),
        ] {
            assert!(merged(None, &given(bad.clone())).is_err(), "{bad}");
        }
    }
}
