//! Who may send how much at once, so that a target that hangs does not hold up the others.

use std::collections::HashMap;

use model::DispatchId;
use store::{Load, Taken, TargetNumber};

/// Deliveries under way at once.
const AT_ONCE: usize = 256;
/// Of these, to one target that answers,
const TO_ONE: usize = 32;
/// to one of which nothing is known yet,
const TO_UNKNOWN: usize = 4;
/// and to one that did not answer the last time.
const TO_SILENT: usize = 1;
/// Dispatches that may wait to be written down.
const TAKEN: usize = 4096;
/// Targets about which something is remembered.
const REMEMBERED: usize = 1000;

/// What is under way.
#[derive(Debug, Default)]
pub(super) struct Lanes {
    targets: HashMap<TargetNumber, Lane>,
    /// Everything that was handed out and is not written down.
    taken: HashMap<DispatchId, TargetNumber>,
    under_way: usize,
}

#[derive(Clone, Copy, Debug)]
struct Lane {
    /// Requests that wait for an answer.
    under_way: usize,
    /// Dispatches handed out and not written down.
    taken: usize,
    /// How many may be under way.
    limit: usize,
}

impl Default for Lane {
    fn default() -> Self {
        Self { under_way: 0, taken: 0, limit: TO_UNKNOWN }
    }
}

impl Lanes {
    /// How many more may be handed out.
    pub(super) fn free(&self) -> usize {
        AT_ONCE.saturating_sub(self.under_way).min(TAKEN.saturating_sub(self.taken.len()))
    }

    /// Whether nothing is handed out.
    pub(super) fn is_idle(&self) -> bool {
        self.taken.is_empty()
    }

    /// What the store must know to choose what comes next.
    pub(super) fn taken(&self) -> Taken {
        let load = |lane: &Lane| Load { taken: lane.taken, room: lane.limit.saturating_sub(lane.under_way) };
        Taken {
            dispatches: self.taken.keys().copied().collect(),
            targets: self.targets.iter().map(|(target, lane)| (*target, load(lane))).collect(),
            room: TO_UNKNOWN,
        }
    }

    /// Hands a dispatch out.
    pub(super) fn take(&mut self, id: DispatchId, target: TargetNumber) {
        if self.targets.len() >= REMEMBERED {
            self.targets.retain(|_, lane| lane.taken > 0);
        }
        let lane = self.targets.entry(target).or_default();
        lane.under_way += 1;
        lane.taken += 1;
        self.under_way += 1;
        self.taken.insert(id, target);
    }

    /// Notes that a request is not under way any more. Who answers may be sent more at once, who does not hardly anything.
    /// Tells whether the target has run low.
    pub(super) fn landed(&mut self, target: TargetNumber, has_answered: bool) -> bool {
        self.under_way = self.under_way.saturating_sub(1);
        let Some(lane) = self.targets.get_mut(&target) else { return true };
        lane.under_way = lane.under_way.saturating_sub(1);
        lane.limit = if has_answered { (lane.limit * 2).min(TO_ONE) } else { TO_SILENT };
        lane.under_way <= lane.limit / 2
    }

    /// Notes that a dispatch is written down, or that nothing will come of it.
    pub(super) fn settle(&mut self, id: &DispatchId) {
        let Some(target) = self.taken.remove(id) else { return };
        let Some(lane) = self.targets.get_mut(&target) else { return };
        lane.taken = lane.taken.saturating_sub(1);
        if lane.taken == 0 && lane.limit == TO_UNKNOWN {
            self.targets.remove(&target);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::TestRandom;

    fn room(lanes: &Lanes, target: TargetNumber) -> usize {
        let taken = lanes.taken();
        taken.targets.get(&target).map_or(taken.room, |load| load.room)
    }

    #[test]
    fn who_answers_gets_more_at_once_and_who_keeps_silent_hardly_anything() {
        let (mut lanes, random) = (Lanes::default(), TestRandom::default());
        let ids: Vec<_> = (0..40).map(|_| DispatchId::random(&random)).collect();
        assert_eq!((room(&lanes, 1), lanes.free()), (TO_UNKNOWN, AT_ONCE));

        ids[..4].iter().for_each(|id| lanes.take(*id, 1));
        assert_eq!((room(&lanes, 1), room(&lanes, 2), lanes.free()), (0, TO_UNKNOWN, AT_ONCE - 4));
        assert!(lanes.landed(1, true));
        assert_eq!(room(&lanes, 1), 5, "8 at once, 3 under way");
        for _ in 0..3 {
            lanes.landed(1, true);
        }
        assert_eq!((room(&lanes, 1), lanes.taken().targets[&1].taken), (TO_ONE, 4), "nothing is written down yet");
        lanes.landed(1, false);
        assert_eq!(room(&lanes, 1), TO_SILENT);

        ids[..4].iter().for_each(|id| lanes.settle(id));
        assert!(lanes.is_idle());
        assert_eq!(room(&lanes, 1), TO_SILENT, "it is remembered");
    }

    #[test]
    fn there_are_bounds_for_all_and_for_what_is_remembered() {
        let (mut lanes, random) = (Lanes::default(), TestRandom::default());
        for target in 0..AT_ONCE {
            assert!(lanes.free() > 0);
            lanes.take(DispatchId::random(&random), target as TargetNumber);
        }
        assert_eq!(lanes.free(), 0);

        let mut lanes = Lanes::default();
        for target in 0..3 * REMEMBERED {
            let id = DispatchId::random(&random);
            lanes.take(id, target as TargetNumber);
            lanes.landed(target as TargetNumber, false);
            lanes.settle(&id);
        }
        assert!(lanes.targets.len() <= REMEMBERED);
    }
}
