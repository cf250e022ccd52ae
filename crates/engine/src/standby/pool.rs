//! The runs of one Standby, and the requests that wait for one of them.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;

use model::{BuildId, Run, RunId, SharedClock, Standby, StandbyPhase, StandbyRun, Timestamp};
use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};

use super::{PoolKey, StandbyError};

/// Requests that wait at most; each holds a connection of ours.
const MAX_WAITING: usize = 1000;

/// The runs of one Standby, and the requests that wait for one of them.
pub(super) struct Pool {
    pub(super) key: PoolKey,
    clock: SharedClock,
    state: Mutex<State>,
    /// Wakes the keeper.
    pub(super) wake: Notify,
    /// Wakes the attendants.
    doubts: Notify,
}

/// What runs are made of; those made of something else are outdated (`STB-7`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Recipe {
    pub(super) build: BuildId,
    pub(super) memory_mbytes: u64,
}

impl Recipe {
    fn of(run: &Run) -> Self {
        Self { build: run.build_id, memory_mbytes: run.options.memory_mbytes.into() }
    }
}

#[derive(Default)]
struct State {
    standby: Standby,
    recipe: Option<Recipe>,
    seats: Vec<Seat>,
    /// Runs that are being asked for.
    unborn: u64,
    waiting: VecDeque<Waiter>,
    /// Whether the settings have been read. Runs that a former server left are in the pool before that.
    is_set: bool,
    is_closed: bool,
}

type Waiter = oneshot::Sender<Result<StandbyPlace, StandbyError>>;

/// One run of the pool.
struct Seat {
    run: RunId,
    recipe: Recipe,
    phase: StandbyPhase,
    /// Where it takes requests; none before it is ready.
    address: Option<SocketAddr>,
    in_flight: u64,
    idle_since: Timestamp,
}

/// What became of a request.
pub(super) enum Asked {
    Place(StandbyPlace),
    Wait(oneshot::Receiver<Result<StandbyPlace, StandbyError>>),
    Crowded,
    /// The pool was given up meanwhile; there is another.
    Closed,
}

/// What the keeper has to do.
#[derive(Default)]
pub(super) struct Orders {
    pub(super) start: u64,
    pub(super) stop: Vec<RunId>,
    pub(super) look_again: Option<Timestamp>,
}

/// A place for one request with a run. The run counts the request as under way until this is dropped.
pub struct StandbyPlace {
    /// Where the run's web server is.
    pub address: SocketAddr,
    /// The run.
    pub run_id: RunId,
    pool: Arc<Pool>,
}

impl StandbyPlace {
    /// Tells that the run did not answer: it gets no further requests until its web server has answered a probe again.
    pub fn doubt(&self) {
        self.pool.doubt(&self.run_id);
    }
}

impl Drop for StandbyPlace {
    fn drop(&mut self) {
        self.pool.release(&self.run_id);
    }
}

impl std::fmt::Debug for StandbyPlace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StandbyPlace").field("run_id", &self.run_id).field("address", &self.address).finish()
    }
}

impl Pool {
    pub(super) fn new(key: PoolKey, clock: SharedClock) -> Self {
        Self { key, clock, state: Mutex::default(), wake: Notify::new(), doubts: Notify::new() }
    }

    /// Asks for a place under these settings, which are the newest.
    pub(super) fn ask(self: &Arc<Self>, standby: &Standby, recipe: Recipe) -> Asked {
        let mut state = self.state.lock();
        if state.is_closed {
            return Asked::Closed;
        }
        self.set(&mut state, standby, Some(recipe));
        if let Some(place) = self.place(&mut state) {
            let is_above = |seat: &Seat| seat.in_flight > state.standby.desired_requests_per_actor_run;
            if state.seats.iter().any(is_above) {
                self.wake.notify_one();
            }
            return Asked::Place(place);
        }
        state.waiting.retain(|waiter| !waiter.is_closed());
        if state.waiting.len() >= MAX_WAITING {
            return Asked::Crowded;
        }
        let (answer, place) = oneshot::channel();
        state.waiting.push_back(answer);
        self.wake.notify_one();
        Asked::Wait(place)
    }

    /// Takes in settings that may have changed.
    pub(super) fn update(self: &Arc<Self>, standby: &Standby, recipe: Option<Recipe>) {
        let mut state = self.state.lock();
        self.set(&mut state, standby, recipe);
        if !standby.is_enabled {
            let waiting = std::mem::take(&mut state.waiting);
            drop(state);
            return turn_away(waiting, &StandbyError::NotEnabled);
        }
        drop(state);
        self.dispatch();
    }

    /// Whether the settings have been read, so that there is something to decide by.
    pub(super) fn is_set(&self) -> bool {
        self.state.lock().is_set
    }

    fn set(&self, state: &mut State, standby: &Standby, recipe: Option<Recipe>) {
        state.is_set = true;
        if state.standby != *standby || (recipe.is_some() && state.recipe != recipe) {
            state.standby.clone_from(standby);
            state.recipe = recipe.or(state.recipe);
            self.wake.notify_one();
        }
    }

    /// Takes in a run that is not known to be ready. Refused by a pool that was given up.
    pub(super) fn join(&self, run: &Run) -> bool {
        let mut state = self.state.lock();
        if state.is_closed {
            return false;
        }
        let recipe = Recipe::of(run);
        let (phase, idle_since) = (StandbyPhase::Starting, self.clock.now());
        state.seats.push(Seat { run: run.id, recipe, phase, address: None, in_flight: 0, idle_since });
        self.wake.notify_one();
        true
    }

    /// The run takes requests at `address` from now on. What it is made of may have changed by a metamorph.
    pub(super) fn ready(self: &Arc<Self>, run: &Run, address: SocketAddr) {
        let mut state = self.state.lock();
        if let Some(seat) = state.seat(&run.id)
            && seat.phase == StandbyPhase::Starting
        {
            seat.phase = StandbyPhase::Ready;
            seat.address = Some(address);
            seat.recipe = Recipe::of(run);
            seat.idle_since = self.clock.now();
        }
        drop(state);
        self.dispatch();
        self.wake.notify_one();
    }

    /// The run takes no requests until it is ready again.
    pub(super) fn not_ready(&self, run: &RunId) {
        let mut state = self.state.lock();
        if let Some(seat) = state.seat(run)
            && seat.phase != StandbyPhase::Leaving
        {
            (seat.phase, seat.address) = (StandbyPhase::Starting, None);
        }
        self.wake.notify_one();
    }

    /// The run must prove that it answers before it gets more requests.
    fn doubt(&self, run: &RunId) {
        let mut state = self.state.lock();
        if let Some(seat) = state.seat(run)
            && seat.phase == StandbyPhase::Ready
        {
            (seat.phase, seat.address) = (StandbyPhase::Starting, None);
            self.doubts.notify_waiters();
        }
    }

    /// Waits until a run that was ready is no longer.
    pub(super) async fn until_doubted(&self, run: &RunId) {
        loop {
            let doubts = self.doubts.notified();
            tokio::pin!(doubts);
            // From here on none is missed.
            doubts.as_mut().enable();
            if self.state.lock().seat(run).is_none_or(|seat| seat.phase != StandbyPhase::Ready) {
                return;
            }
            doubts.await;
        }
    }

    /// The run is ending. If it ends for `failure` and there is no other run to hope for, nobody need wait any longer; a
    /// further run would most likely fail as well.
    pub(super) fn retire(&self, run: &RunId, failure: Option<StandbyError>) {
        let mut state = self.state.lock();
        if let Some(seat) = state.seat(run) {
            (seat.phase, seat.address) = (StandbyPhase::Leaving, None);
        }
        self.despair(state, failure);
    }

    /// The run has ended.
    pub(super) fn leave(&self, run: &RunId) {
        self.state.lock().seats.retain(|seat| seat.run != *run);
        self.wake.notify_one();
    }

    /// A run that was asked for has joined, or could not be started for this reason.
    pub(super) fn born(&self, failure: Option<StandbyError>) {
        let mut state = self.state.lock();
        state.unborn = state.unborn.saturating_sub(1);
        self.despair(state, failure);
    }

    fn despair(&self, mut state: parking_lot::MutexGuard<'_, State>, failure: Option<StandbyError>) {
        let has_hope = state.unborn > 0 || state.seats.iter().any(|seat| seat.phase != StandbyPhase::Leaving);
        let given_up = match failure {
            Some(_) if !has_hope => std::mem::take(&mut state.waiting),
            _ => VecDeque::new(),
        };
        drop(state);
        if let Some(failure) = failure {
            turn_away(given_up, &failure);
        }
        self.wake.notify_one();
    }

    /// Decides what is to be done now. Runs to be stopped take no requests from here on, and those to be started count.
    pub(super) fn orders(&self) -> Orders {
        let now = self.clock.now();
        let mut state = self.state.lock();
        state.waiting.retain(|waiter| !waiter.is_closed());
        let mut runs: Vec<StandbyRun> = state.runs().collect();
        let unborn = StandbyRun { phase: StandbyPhase::Starting, is_current: true, in_flight: 0, idle_since: now };
        runs.extend((0..state.unborn).map(|_| unborn));
        let plan = state.standby.plan(&runs, state.waiting.len() as u64, now);
        state.unborn += plan.start;
        let mut stop = Vec::new();
        for at in plan.stop {
            // What has not joined yet is looked at when it has.
            if let Some(seat) = state.seats.get_mut(at) {
                (seat.phase, seat.address) = (StandbyPhase::Leaving, None);
                stop.push(seat.run);
            }
        }
        Orders { start: plan.start, stop, look_again: plan.look_again }
    }

    /// Gives the pool up if nothing is left in it.
    pub(super) fn close_if_empty(&self) -> bool {
        let mut state = self.state.lock();
        state.waiting.retain(|waiter| !waiter.is_closed());
        state.is_closed = state.seats.is_empty() && state.unborn == 0 && state.waiting.is_empty();
        state.is_closed
    }

    /// The runs that take requests or will, and how many each is answering.
    #[cfg(any(test, feature = "testing"))]
    pub(super) fn runs(&self) -> Vec<(RunId, u64)> {
        let state = self.state.lock();
        let staying = state.seats.iter().filter(|seat| seat.phase != StandbyPhase::Leaving);
        staying.map(|seat| (seat.run, seat.in_flight)).collect()
    }

    fn place(self: &Arc<Self>, state: &mut State) -> Option<StandbyPlace> {
        let at = state.standby.choose(state.runs())?;
        let seat = state.seats.get_mut(at)?;
        let address = seat.address?;
        seat.in_flight += 1;
        Some(StandbyPlace { address, run_id: seat.run, pool: self.clone() })
    }

    fn release(self: &Arc<Self>, run: &RunId) {
        let now = self.clock.now();
        let mut state = self.state.lock();
        let is_waited_for = !state.waiting.is_empty();
        let recipe = state.recipe;
        if let Some(seat) = state.seat(run) {
            seat.in_flight = seat.in_flight.saturating_sub(1);
            seat.idle_since = now;
            if seat.in_flight == 0 && recipe != Some(seat.recipe) {
                self.wake.notify_one();
            }
        }
        drop(state);
        if is_waited_for {
            self.dispatch();
        }
    }

    /// Hands the places that there are to those who wait, first come, first served.
    fn dispatch(self: &Arc<Self>) {
        // Dropped without the lock, which they take.
        let mut refused = Vec::new();
        let mut state = self.state.lock();
        while !state.waiting.is_empty() {
            let Some(place) = self.place(&mut state) else { break };
            let taker = state.waiting.pop_front();
            if let Some(Err(Ok(place))) = taker.map(|waiter| waiter.send(Ok(place))) {
                refused.push(place);
            }
        }
        drop(state);
        drop(refused);
    }
}

fn turn_away(waiting: VecDeque<Waiter>, why: &StandbyError) {
    for waiter in waiting {
        // Who does not listen any more needs no answer.
        let _ = waiter.send(Err(why.clone()));
    }
}

impl State {
    fn seat(&mut self, run: &RunId) -> Option<&mut Seat> {
        self.seats.iter_mut().find(|seat| seat.run == *run)
    }

    fn runs(&self) -> impl Iterator<Item = StandbyRun> {
        self.seats.iter().map(|seat| StandbyRun {
            phase: seat.phase,
            is_current: self.recipe == Some(seat.recipe),
            in_flight: seat.in_flight,
            idle_since: seat.idle_since,
        })
    }
}
