//! Standby: its settings, which run gets a request, and when runs are started and stopped (`STB-1` to `STB-7`).

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::memory_expression::{MAX_MEMORY_MBYTES, MIN_MEMORY_MBYTES};
use crate::{Timestamp, is_dns_safe};

/// Settings of Standby (`ACT-11`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Standby {
    /// Whether requests are taken at all.
    pub is_enabled: bool,
    /// Requests at once that one run is meant for; above it everywhere, another run is started.
    pub desired_requests_per_actor_run: u64,
    /// Requests at once that one run gets at most.
    pub max_requests_per_actor_run: u64,
    /// Seconds without a request after which a run is stopped.
    pub idle_timeout_secs: u64,
    /// Tag or number of the build.
    pub build: String,
    /// Megabytes of a run.
    pub memory_mbytes: u64,
    /// Whether runs get an input: the defaults of the schema, or the task's.
    pub should_pass_actor_input: bool,
    /// Whether tasks must leave these settings as they are.
    pub disable_standby_fields_override: bool,
}

impl Default for Standby {
    fn default() -> Self {
        Self {
            is_enabled: false,
            desired_requests_per_actor_run: 3,
            max_requests_per_actor_run: 4,
            idle_timeout_secs: 300,
            build: "latest".to_owned(),
            memory_mbytes: 1024,
            should_pass_actor_input: false,
            disable_standby_fields_override: false,
        }
    }
}

/// Why settings of Standby were refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StandbyRefused {
    /// No such field.
    #[error("\"actorStandby\" has no field \"{0}\"")]
    UnknownField(String),
    /// A value of another type than the field has.
    #[error("\"actorStandby.{0}\" has the wrong type")]
    WrongType(String),
    /// A value that breaks a rule.
    #[error("{0}")]
    Rule(&'static str),
}

/// What a task says of Standby; the rest is as its Actor has it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[expect(missing_docs, reason = "the fields are those of Standby")]
pub struct TaskStandby {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub is_enabled: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub desired_requests_per_actor_run: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_requests_per_actor_run: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idle_timeout_secs: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub build: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_mbytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub should_pass_actor_input: Option<bool>,
    /// Says nothing, since it is for the Actor to say; kept as it was given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disable_standby_fields_override: Option<bool>,
}

impl TaskStandby {
    /// This with the fields that are `given` put over it; `null` takes a field away.
    ///
    /// # Errors
    /// [`StandbyRefused`] for unknown fields and for values that break a rule whatever the Actor says.
    pub fn with(&self, given: &Map<String, Value>) -> Result<Self, StandbyRefused> {
        let mut fields = match serde_json::to_value(self) {
            Ok(Value::Object(fields)) => fields,
            _ => Map::new(),
        };
        Standby::check_form(given)?;
        for (name, value) in given {
            match value {
                Value::Null => drop(fields.remove(name)),
                value => drop(fields.insert(name.clone(), value.clone())),
            }
        }
        let new: Self = serde_json::from_value(Value::Object(fields))
            .map_err(|error| StandbyRefused::WrongType(error.to_string()))?;
        let widest =
            Standby { desired_requests_per_actor_run: 1, max_requests_per_actor_run: u64::MAX, ..Standby::default() };
        new.over(widest).check()?;
        Ok(new)
    }

    fn over(&self, under: Standby) -> Standby {
        Standby {
            is_enabled: self.is_enabled.unwrap_or(under.is_enabled),
            desired_requests_per_actor_run: self
                .desired_requests_per_actor_run
                .unwrap_or(under.desired_requests_per_actor_run),
            max_requests_per_actor_run: self.max_requests_per_actor_run.unwrap_or(under.max_requests_per_actor_run),
            idle_timeout_secs: self.idle_timeout_secs.unwrap_or(under.idle_timeout_secs),
            build: self.build.clone().unwrap_or(under.build),
            memory_mbytes: self.memory_mbytes.unwrap_or(under.memory_mbytes),
            should_pass_actor_input: self.should_pass_actor_input.unwrap_or(under.should_pass_actor_input),
            disable_standby_fields_override: under.disable_standby_fields_override,
        }
    }
}

impl Standby {
    /// The settings of a task whose Actor has these: what the task says goes over them, unless the Actor forbids that.
    #[must_use]
    pub fn of_task(self, task: Option<&TaskStandby>) -> Self {
        let Some(task) = task.filter(|_| !self.disable_standby_fields_override) else { return self };
        let mut settings = task.over(self);
        // Each is fine by itself, and the more a run is meant for, the more it gets.
        settings.max_requests_per_actor_run =
            settings.max_requests_per_actor_run.max(settings.desired_requests_per_actor_run);
        settings
    }

    /// Refuses unknown fields and values of another type.
    fn check_form(given: &Map<String, Value>) -> Result<(), StandbyRefused> {
        let known = serde_json::to_value(Self::default()).unwrap_or_default();
        for (name, value) in given {
            let Some(known) = known.get(name) else { return Err(StandbyRefused::UnknownField(name.clone())) };
            let fits = std::mem::discriminant(known) == std::mem::discriminant(value)
                && (!value.is_number() || value.as_u64().is_some());
            if !value.is_null() && !fits {
                return Err(StandbyRefused::WrongType(name.clone()));
            }
        }
        Ok(())
    }

    /// These settings with the fields that are `given` put over them; `null` leaves a field as it is.
    ///
    /// # Errors
    /// [`StandbyRefused`] for unknown fields and for values that break a rule.
    pub fn with(&self, given: &Map<String, Value>) -> Result<Self, StandbyRefused> {
        let mut settings = match serde_json::to_value(self) {
            Ok(Value::Object(fields)) => fields,
            _ => Map::new(),
        };
        Self::check_form(given)?;
        let given = given.iter().filter(|(_, value)| !value.is_null());
        settings.extend(given.map(|(name, value)| (name.clone(), value.clone())));
        let settings: Self = serde_json::from_value(Value::Object(settings))
            .map_err(|error| StandbyRefused::WrongType(error.to_string()))?;
        settings.check()?;
        Ok(settings)
    }

    fn check(&self) -> Result<(), StandbyRefused> {
        let bounds = u64::from(MIN_MEMORY_MBYTES)..=u64::from(MAX_MEMORY_MBYTES);
        let rule = if self.desired_requests_per_actor_run < 1 {
            "Desired requests must be at least 1."
        } else if self.max_requests_per_actor_run < self.desired_requests_per_actor_run {
            "Max requests must be greater than or equal to desired requests."
        } else if self.idle_timeout_secs < 5 {
            "Idle timeout must be at least 5 seconds."
        } else if !self.memory_mbytes.is_power_of_two() || !bounds.contains(&self.memory_mbytes) {
            "Memory must be a power of two between 128 and 32768 MB."
        } else if self.build.is_empty() {
            "Build must be a tag or a build number."
        } else {
            return Ok(());
        };
        Err(StandbyRefused::Rule(rule))
    }

    /// The run that gets the next request: of those that are ready, current and below their most, the one with the fewest
    /// requests, and of those the first (`STB-3`). `None` if the request has to wait.
    pub fn choose(&self, runs: impl IntoIterator<Item = StandbyRun>) -> Option<usize> {
        let open = |run: &StandbyRun| {
            self.is_enabled
                && run.is_current
                && run.phase == StandbyPhase::Ready
                && run.in_flight < self.max_requests_per_actor_run
        };
        let open = runs.into_iter().enumerate().filter(|(_, run)| open(run));
        open.min_by_key(|(_, run)| run.in_flight).map(|(at, _)| at)
    }

    /// What has to be done for `runs` while `waiting` requests are held.
    ///
    /// There shall be as many runs as the requests need at the number that is desired for each; but no more start at a
    /// time than are ready, so that a burst does not ask for all the memory of the machine at once.
    pub fn plan(&self, runs: &[StandbyRun], waiting: u64, now: Timestamp) -> StandbyPlan {
        let current = runs.iter().filter(|run| run.is_current && self.is_enabled);
        let (mut ready, mut starting, mut in_flight) = (0_u64, 0_u64, 0_u64);
        for run in current {
            match run.phase {
                StandbyPhase::Ready => {
                    ready += 1;
                    in_flight = in_flight.saturating_add(run.in_flight);
                }
                StandbyPhase::Starting => starting += 1,
                StandbyPhase::Leaving => {}
            }
        }
        let wanted = in_flight.saturating_add(waiting).div_ceil(self.desired_requests_per_actor_run.max(1));
        let lacking = wanted.saturating_sub(ready + starting);
        let start = if self.is_enabled { lacking.min(ready.max(1).saturating_sub(starting)) } else { 0 };

        let mut plan = StandbyPlan { start, stop: Vec::new(), look_again: None };
        for (at, run) in runs.iter().enumerate() {
            let is_wanted = run.is_current && self.is_enabled;
            let idle_until = run.idle_since.plus_secs(i64::try_from(self.idle_timeout_secs).unwrap_or(i64::MAX));
            match run.phase {
                StandbyPhase::Starting if !is_wanted => plan.stop.push(at),
                StandbyPhase::Ready if run.in_flight > 0 => {}
                StandbyPhase::Ready if !is_wanted || idle_until <= now => plan.stop.push(at),
                StandbyPhase::Ready => {
                    plan.look_again = Some(plan.look_again.map_or(idle_until, |other| other.min(idle_until)));
                }
                StandbyPhase::Starting | StandbyPhase::Leaving => {}
            }
        }
        plan
    }
}

/// A Standby run as the decisions see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StandbyRun {
    /// How far it is.
    pub phase: StandbyPhase,
    /// Whether it runs what new runs would: the build behind the tag, with as much memory (`STB-7`).
    pub is_current: bool,
    /// Requests that it is answering.
    pub in_flight: u64,
    /// Since when there are none, if there are none.
    pub idle_since: Timestamp,
}

/// How far a Standby run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StandbyPhase {
    /// Its web server has not answered yet (`STB-4`).
    Starting,
    /// Takes requests.
    Ready,
    /// Is about to end.
    Leaving,
}

/// What has to be done for the runs of one Standby.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StandbyPlan {
    /// Runs to start.
    pub start: u64,
    /// Places of the runs to stop; none of them is answering a request.
    pub stop: Vec<usize>,
    /// When a run will have been idle for long enough, if no request comes.
    pub look_again: Option<Timestamp>,
}

/// The label in front of a server's host name under which a Standby is reached: `jane--my-actor` for an Actor,
/// `jane---my-task` for a task (`STB-1`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StandbyLabel {
    /// Name of the owner.
    pub owner: String,
    /// Name of the Actor or task.
    pub name: String,
    /// Whether it is a task.
    pub is_task: bool,
}

impl StandbyLabel {
    /// Reads a label.
    pub fn parse(label: &str) -> Option<Self> {
        let (owner, name) = label.split_once("--")?;
        let (name, is_task) = name.strip_prefix('-').map_or((name, false), |task| (task, true));
        let label = Self { owner: owner.to_owned(), name: name.to_owned(), is_task };
        label.write().is_some().then_some(label)
    }

    /// Writes the label; `None` if the names cannot stand in one: a user name with dots, underscores or two hyphens in a
    /// row, or too many letters together.
    pub fn write(&self) -> Option<String> {
        let Self { owner, name, is_task } = self;
        let hyphens = if *is_task { "---" } else { "--" };
        let label = format!("{owner}{hyphens}{name}").to_lowercase();
        let is_whole = owner.len() >= 3 && !owner.contains("--") && is_dns_safe(owner) && is_dns_safe(name);
        (is_whole && is_dns_safe(&label)).then_some(label)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::StandbyPhase::{Leaving, Ready, Starting};
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_788_167_605_000);

    fn enabled() -> Standby {
        Standby { is_enabled: true, ..Standby::default() }
    }

    fn run(phase: StandbyPhase, in_flight: u64) -> StandbyRun {
        StandbyRun { phase, is_current: true, in_flight, idle_since: NOW }
    }

    fn old(phase: StandbyPhase, in_flight: u64) -> StandbyRun {
        StandbyRun { is_current: false, ..run(phase, in_flight) }
    }

    fn idle_for(secs: i64) -> StandbyRun {
        StandbyRun { idle_since: NOW.plus_secs(-secs), ..run(Ready, 0) }
    }

    #[test]
    fn settings_are_merged_over_those_that_are_there() {
        let given = |value: Value| value.as_object().unwrap().clone();

        let first = Standby::default()
            .with(&given(json!({ "isEnabled": true, "maxRequestsPerActorRun": 9, "build": null })))
            .unwrap();
        let second = first.with(&given(json!({ "isEnabled": false }))).unwrap();

        assert_eq!((first.is_enabled, first.max_requests_per_actor_run, &*first.build), (true, 9, "latest"));
        assert_eq!((second.is_enabled, second.max_requests_per_actor_run), (false, 9));
        let stored: Standby = serde_json::from_value(json!({ "isEnabled": true, "build": "beta" })).unwrap();
        assert_eq!(stored, Standby { build: "beta".to_owned(), ..enabled() }, "what is not stored is the default");
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
            json!({ "memoryMbytes": 1000 }),
            json!({ "memoryMbytes": 64 }),
            json!({ "memoryMbytes": 1_u64 << 40 }),
            json!({ "build": "" }),
        ] {
            assert!(Standby::default().with(bad.as_object().unwrap()).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_task_says_what_is_to_be_otherwise_than_with_its_actor() {
        let given = |value: Value| value.as_object().unwrap().clone();
        let actor = Standby {
            memory_mbytes: 256,
            max_requests_per_actor_run: 2,
            desired_requests_per_actor_run: 2,
            ..enabled()
        };
        let task = TaskStandby::default()
            .with(&given(json!({ "idleTimeoutSecs": 60, "desiredRequestsPerActorRun": 9, "memoryMbytes": 512 })))
            .unwrap();
        let task = task.with(&given(json!({ "memoryMbytes": null, "shouldPassActorInput": true }))).unwrap();

        let own = Standby {
            idle_timeout_secs: 60,
            desired_requests_per_actor_run: 9,
            max_requests_per_actor_run: 9,
            should_pass_actor_input: true,
            ..actor.clone()
        };
        assert_eq!(actor.clone().of_task(Some(&task)), own);
        assert_eq!(actor.clone().of_task(None), actor);
        let strict = Standby { disable_standby_fields_override: true, ..actor };
        assert_eq!(strict.clone().of_task(Some(&task)), strict, "the Actor forbids it");
        assert_eq!(
            serde_json::to_value(&task).unwrap(),
            json!({ "idleTimeoutSecs": 60, "desiredRequestsPerActorRun": 9, "shouldPassActorInput": true })
        );
        for bad in [
            json!({ "x": null }),
            json!({ "isEnabled": 1 }),
            json!({ "desiredRequestsPerActorRun": 5, "maxRequestsPerActorRun": 4 }),
            json!({ "memoryMbytes": 1000 }),
        ] {
            assert!(TaskStandby::default().with(&given(bad.clone())).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_request_goes_to_the_least_loaded_run_that_may_take_it() {
        for (runs, choice) in [
            (vec![], None),
            (vec![run(Starting, 0)], None),
            (vec![run(Leaving, 0), old(Ready, 0)], None),
            (vec![run(Ready, 4)], None),
            (vec![run(Ready, 4), run(Ready, 3)], Some(1)),
            (vec![run(Ready, 2), run(Ready, 1), run(Ready, 1)], Some(1)),
            (vec![old(Ready, 0), run(Starting, 0), run(Ready, 3)], Some(2)),
        ] {
            assert_eq!(enabled().choose(runs.iter().copied()), choice, "{runs:?}");
            assert_eq!(Standby::default().choose(runs), None, "nothing is taken while it is off");
        }
    }

    #[test]
    fn runs_are_started_as_the_requests_need_them() {
        for (runs, waiting, start) in [
            (vec![], 0, 0),
            (vec![], 1, 1),
            (vec![], 100, 1),
            (vec![run(Starting, 0)], 3, 0),
            (vec![run(Starting, 0)], 100, 0),
            (vec![run(Ready, 3)], 0, 0),
            (vec![run(Ready, 4)], 0, 1),
            (vec![run(Ready, 4), run(Starting, 0)], 2, 0),
            (vec![run(Ready, 4), run(Ready, 4)], 20, 2),
            (vec![run(Ready, 4), run(Ready, 4), run(Starting, 0)], 20, 1),
            (vec![old(Ready, 4), run(Leaving, 0)], 1, 1),
        ] {
            assert_eq!(enabled().plan(&runs, waiting, NOW).start, start, "{runs:?} and {waiting} waiting");
            assert_eq!(Standby::default().plan(&runs, waiting, NOW).start, 0, "nothing starts while it is off");
        }
    }

    #[test]
    fn idle_runs_are_stopped_and_those_of_an_old_build_as_soon_as_they_are_idle() {
        let plan = |runs: &[StandbyRun]| {
            let plan = enabled().plan(runs, 0, NOW);
            (plan.stop, plan.look_again)
        };
        let in_secs = |secs| Some(NOW.plus_secs(secs));

        assert_eq!(plan(&[idle_for(299), idle_for(300), idle_for(250)]), (vec![1], in_secs(1)));
        assert_eq!(plan(&[run(Ready, 1), run(Starting, 0), run(Leaving, 0)]), (vec![], None));
        assert_eq!(plan(&[old(Ready, 0), old(Ready, 1), old(Starting, 0), old(Leaving, 0)]), (vec![0, 2], None));
        let off = Standby::default().plan(&[run(Ready, 0), run(Ready, 1), run(Starting, 0)], 5, NOW);
        assert_eq!(off.stop, [0, 2], "switched off, everything ends as old builds do");
    }

    #[test]
    fn labels_read_back_and_ambiguous_ones_are_not_written() {
        let label = |owner: &str, name: &str, is_task| StandbyLabel { owner: owner.into(), name: name.into(), is_task };
        for (label, text) in [
            (label("jane", "my-actor", false), Some("jane--my-actor")),
            (label("jane", "my-actor", true), Some("jane---my-actor")),
            (label("jane-doe", "a--b", false), Some("jane-doe--a--b")),
            (label("jane_doe", "a", false), None),
            (label("jane.doe", "a", false), None),
            (label("jane--doe", "a", false), None),
            (label("jane-", "a", false), None),
            (label("xn", "p1ai", false), None),
            (label("jane", &"x".repeat(58), false), None),
        ] {
            assert_eq!(label.write().as_deref(), text);
            if let Some(text) = text {
                assert_eq!(StandbyLabel::parse(text), Some(label));
            }
        }
        assert_eq!(label("Jane", "My-Actor", false).write().as_deref(), Some("jane--my-actor"));
        for no_label in ["", "www", "--a", "jane--", "jane----a", "xn--p1ai"] {
            assert_eq!(StandbyLabel::parse(no_label), None, "{no_label}");
        }
    }

    fn any_run() -> impl Strategy<Value = StandbyRun> {
        let phases = prop_oneof![Just(Starting), Just(Ready), Just(Leaving)];
        (phases, any::<bool>(), 0..6_u64, 0..600_i64).prop_map(|(phase, is_current, in_flight, idle)| StandbyRun {
            phase,
            is_current,
            in_flight,
            idle_since: NOW.plus_secs(-idle),
        })
    }

    proptest! {
        #[test]
        fn no_decision_breaks_a_promise(
            runs in prop::collection::vec(any_run(), 0..8),
            waiting in 0..20_u64,
            desired in 1..4_u64,
            spare in 0..3_u64,
        ) {
            let standby = Standby {
                desired_requests_per_actor_run: desired,
                max_requests_per_actor_run: desired + spare,
                ..enabled()
            };
            let plan = standby.plan(&runs, waiting, NOW);
            let choice = standby.choose(runs.iter().copied());
            let current = |phase| runs.iter().filter(move |run| run.is_current && run.phase == phase);

            // A request that has to wait always waits for something.
            if waiting > 0 && choice.is_none() {
                prop_assert!(plan.start > 0 || current(Starting).count() > 0);
            }
            // Above what is desired everywhere, another run is ahead.
            if current(Ready).count() > 0 && current(Ready).all(|run| run.in_flight > desired) {
                prop_assert!(plan.start > 0 || current(Starting).count() > 0);
            }
            // Nothing that answers a request is stopped, and no run gets more than its most.
            prop_assert!(plan.stop.iter().all(|at| runs[*at].in_flight == 0 || runs[*at].phase == Starting));
            if let Some(at) = choice {
                prop_assert!(runs[at].in_flight < standby.max_requests_per_actor_run && runs[at].is_current);
            }
            // A burst is answered step by step.
            prop_assert!(plan.start + current(Starting).count() as u64 <= (current(Ready).count() as u64).max(1)
                || plan.start == 0);
            // Without requests nothing starts, and what is idle ends in time.
            if waiting == 0 && runs.iter().all(|run| run.in_flight == 0) {
                prop_assert_eq!(plan.start, 0);
                let later = plan.look_again.unwrap_or(NOW);
                let stopped: std::collections::BTreeSet<usize> =
                    plan.stop.into_iter().chain(standby.plan(&runs, 0, later).stop).collect();
                let idle = current(Ready).filter(|run| later.millis_since(run.idle_since) >= 300_000).count();
                prop_assert!(stopped.len() >= idle);
            }
        }

        #[test]
        fn any_label_is_read_or_not(text in "[a-z0-9-]{0,70}") {
            if let Some(label) = StandbyLabel::parse(&text) {
                prop_assert_eq!(label.write(), Some(text));
            }
        }
    }
}
