//! Which options a run gets: what the caller asks for, else what the Actor says, else what the server says (`START-2`).

use model::memory_expression::{MAX_MEMORY_MBYTES, MIN_MEMORY_MBYTES};
use model::pricing::PricingInfo;
use model::{Actor, GivenOptions, RunOptions};

use crate::EngineError;

/// Longer is as good as for ever, and keeps dates within what clients can read.
const MAX_TIMEOUT_SECS: i64 = 10 * 365 * 86_400;

/// Options as a caller gives them, unchecked; `None` where nothing is said (`START-3`).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RunOptionsGiven {
    /// Tag or number of the build.
    pub build: Option<String>,
    /// Seconds; 0 for no end.
    pub timeout_secs: Option<i64>,
    /// Megabytes.
    pub memory_mbytes: Option<i64>,
    /// Most items to be paid for.
    pub max_items: Option<i64>,
    /// Budget in US dollars.
    pub max_total_charge_usd: Option<f64>,
    /// Whether to start again after a failure.
    pub restart_on_error: Option<bool>,
}

impl RunOptionsGiven {
    /// These, completed with `others`: those of a task, for example.
    #[must_use]
    pub fn or(self, others: Self) -> Self {
        Self {
            build: self.build.or(others.build),
            timeout_secs: self.timeout_secs.or(others.timeout_secs),
            memory_mbytes: self.memory_mbytes.or(others.memory_mbytes),
            max_items: self.max_items.or(others.max_items),
            max_total_charge_usd: self.max_total_charge_usd.or(others.max_total_charge_usd),
            restart_on_error: self.restart_on_error.or(others.restart_on_error),
        }
    }

    /// Refuses what no run could have, for options that are kept for later.
    ///
    /// # Errors
    /// `InvalidMemory`, `InvalidTimeout`, `MaxItemsNotPositive`, `MaxTotalChargeNotPositive`.
    pub fn check(&self) -> Result<(), EngineError> {
        let any = RunOptions {
            build: String::new(),
            timeout_secs: 0,
            memory_mbytes: MIN_MEMORY_MBYTES,
            disk_mbytes: 0,
            max_items: None,
            max_total_charge_usd: None,
            restart_on_error: None,
        };
        self.over(any, None).map(drop)
    }

    /// The options of a run of `actor`, checked. Memory that nobody gave is the Actor's, as it is written there.
    pub(crate) fn resolve(&self, actor: &Actor, pricing: Option<&PricingInfo>) -> Result<RunOptions, EngineError> {
        let defaults = &actor.default_run_options;
        let fallback = RunOptions {
            build: defaults.build.clone(),
            timeout_secs: defaults.timeout_secs,
            memory_mbytes: defaults.memory_mbytes,
            disk_mbytes: 0,
            max_items: defaults.max_items,
            max_total_charge_usd: None,
            restart_on_error: defaults.restart_on_error,
        };
        self.over(fallback, pricing)
    }

    /// `options` with what is given here put over them, checked.
    pub(crate) fn over(&self, options: RunOptions, pricing: Option<&PricingInfo>) -> Result<RunOptions, EngineError> {
        let memory_mbytes = match self.memory_mbytes {
            Some(given) => checked_memory(given)?,
            None => options.memory_mbytes,
        };
        let timeout_secs = match self.timeout_secs {
            Some(given) => {
                u64::try_from(given.min(MAX_TIMEOUT_SECS)).map_err(|_| EngineError::InvalidTimeout(given))?
            }
            None => options.timeout_secs,
        };
        let max_items = match self.max_items {
            Some(given) => match u64::try_from(given) {
                Ok(count) if count > 0 => Some(count),
                _ => return Err(EngineError::MaxItemsNotPositive),
            },
            None => options.max_items,
        };
        if let Some(budget) = self.max_total_charge_usd {
            if !(budget.is_finite() && budget > 0.0) {
                return Err(EngineError::MaxTotalChargeNotPositive);
            }
            let least = pricing.and_then(|pricing| pricing.minimal_max_total_charge_usd);
            if let Some(least) = least.filter(|least| budget < *least) {
                return Err(EngineError::MaxTotalChargeBelowMinimum(least));
            }
        }
        Ok(RunOptions {
            build: self.build.clone().unwrap_or(options.build),
            timeout_secs,
            memory_mbytes,
            disk_mbytes: memory_mbytes * 2,
            max_items,
            max_total_charge_usd: self.max_total_charge_usd.or(options.max_total_charge_usd),
            restart_on_error: self.restart_on_error.or(options.restart_on_error),
        })
    }
}

impl From<GivenOptions> for RunOptionsGiven {
    fn from(kept: GivenOptions) -> Self {
        Self {
            build: kept.build,
            timeout_secs: kept.timeout_secs,
            memory_mbytes: kept.memory_mbytes,
            max_items: kept.max_items,
            max_total_charge_usd: kept.max_total_charge_usd,
            restart_on_error: kept.restart_on_error,
        }
    }
}

fn checked_memory(given: i64) -> Result<u32, EngineError> {
    u32::try_from(given)
        .ok()
        .filter(|mbytes| mbytes.is_power_of_two() && (MIN_MEMORY_MBYTES..=MAX_MEMORY_MBYTES).contains(mbytes))
        .ok_or(EngineError::InvalidMemory(given))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::an_actor;

    #[test]
    fn what_is_given_wins_over_the_actors_defaults() {
        let mut actor = an_actor();
        actor.default_run_options.timeout_secs = 77;
        actor.default_run_options.memory_mbytes = 3000;
        actor.default_run_options.restart_on_error = Some(true);

        let plain = RunOptionsGiven::default().resolve(&actor, None).unwrap();
        let given = RunOptionsGiven {
            build: Some("0.1.2".into()),
            timeout_secs: Some(0),
            memory_mbytes: Some(256),
            restart_on_error: Some(false),
            ..RunOptionsGiven::default()
        };
        let given = given.resolve(&actor, None).unwrap();

        assert_eq!((plain.build.as_str(), plain.timeout_secs, plain.memory_mbytes), ("latest", 77, 3000));
        assert_eq!(plain.restart_on_error, Some(true));
        assert_eq!((given.build.as_str(), given.timeout_secs, given.memory_mbytes), ("0.1.2", 0, 256));
        assert_eq!((given.disk_mbytes, given.restart_on_error), (512, Some(false)));
    }

    #[test]
    fn options_out_of_bounds_are_refused() {
        let none = RunOptionsGiven::default;
        for memory in [-128, 0, 64, 127, 129, 1000, 65_536, i64::MAX] {
            let refused = RunOptionsGiven { memory_mbytes: Some(memory), ..none() }.resolve(&an_actor(), None);
            assert!(matches!(refused, Err(EngineError::InvalidMemory(given)) if given == memory), "{memory}");
        }
        for memory in [128, 1024, 32_768] {
            assert!(RunOptionsGiven { memory_mbytes: Some(memory), ..none() }.resolve(&an_actor(), None).is_ok());
        }
        let refused = |given: RunOptionsGiven| given.resolve(&an_actor(), None).unwrap_err();
        assert!(matches!(
            refused(RunOptionsGiven { timeout_secs: Some(-1), ..none() }),
            EngineError::InvalidTimeout(-1)
        ));
        for items in [0, -3] {
            let given = RunOptionsGiven { max_items: Some(items), ..none() };
            assert!(matches!(refused(given), EngineError::MaxItemsNotPositive));
        }
        for budget in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            let given = RunOptionsGiven { max_total_charge_usd: Some(budget), ..none() };
            assert!(matches!(refused(given), EngineError::MaxTotalChargeNotPositive));
        }
    }
}
