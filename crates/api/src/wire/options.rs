//! Options of runs that are kept: those of tasks, and those of schedules' actions.

use engine::RunOptionsGiven;
use model::{GivenOptions, parse_build_number};
use serde::Deserialize;

use super::given::{Given, given};
use super::version::check_tag;
use crate::error::ApiError;

/// Options as they are sent, field by field; `null` clears one.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct OptionsGiven {
    #[serde(deserialize_with = "given")]
    build: Given<String>,
    #[serde(deserialize_with = "given")]
    timeout_secs: Given<i64>,
    #[serde(deserialize_with = "given")]
    memory_mbytes: Given<i64>,
    #[serde(deserialize_with = "given")]
    max_items: Given<i64>,
    #[serde(deserialize_with = "given")]
    max_total_charge_usd: Given<f64>,
    #[serde(deserialize_with = "given")]
    restart_on_error: Given<bool>,
}

impl OptionsGiven {
    /// `old` with what is given put over it, checked.
    ///
    /// # Errors
    /// `400` for what no run could have.
    pub(crate) fn over(self, old: &GivenOptions) -> Result<GivenOptions, ApiError> {
        let old = old.clone();
        let options = GivenOptions {
            build: self.build.unwrap_or(old.build).filter(|build| !build.is_empty()),
            timeout_secs: self.timeout_secs.unwrap_or(old.timeout_secs),
            memory_mbytes: self.memory_mbytes.unwrap_or(old.memory_mbytes),
            max_items: self.max_items.unwrap_or(old.max_items),
            max_total_charge_usd: self.max_total_charge_usd.unwrap_or(old.max_total_charge_usd),
            restart_on_error: self.restart_on_error.unwrap_or(old.restart_on_error),
        };
        if let Some(tag) = options.build.as_deref().filter(|build| parse_build_number(build).is_none()) {
            check_tag(tag)?;
        }
        RunOptionsGiven::from(options.clone()).check()?;
        Ok(options)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn over(given: serde_json::Value, old: &GivenOptions) -> Result<GivenOptions, ApiError> {
        serde_json::from_value::<OptionsGiven>(given).unwrap().over(old)
    }

    #[test]
    fn options_are_put_over_field_by_field_and_null_clears_one() {
        let old = over(json!({ "build": "beta", "timeoutSecs": 0, "memoryMbytes": 512 }), &GivenOptions::default());
        let old = old.unwrap();

        let new = over(json!({ "memoryMbytes": 1024, "build": null, "maxItems": 3, "unknown": 1 }), &old).unwrap();

        let expected = GivenOptions {
            timeout_secs: Some(0),
            memory_mbytes: Some(1024),
            max_items: Some(3),
            ..GivenOptions::default()
        };
        assert_eq!(new, expected);
    }

    #[test]
    fn options_that_no_run_could_have_are_refused() {
        for bad in [
            json!({ "memoryMbytes": 100 }),
            json!({ "timeoutSecs": -1 }),
            json!({ "maxItems": 0 }),
            json!({ "maxTotalChargeUsd": -0.5 }),
            json!({ "build": "a b" }),
        ] {
            assert!(over(bad.clone(), &GivenOptions::default()).is_err(), "{bad}");
        }
    }
}
