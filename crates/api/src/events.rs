//! The events websocket of a run (section 25 of the contract).

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade, close_code};
use axum::response::Response;
use axum::routing::get;
use engine::EventStream;
use futures::StreamExt as _;
use model::RunId;
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout};

use crate::app::App;
use crate::extract::PathParams;

/// Clients say nothing but pongs.
const MAX_MESSAGE: usize = 16 << 10;
/// How often the connection is tried, so that whatever is between us does not take it for idle.
const PING_EVERY: Duration = Duration::from_secs(30);
/// A client that takes nothing for so long is gone.
const SEND_TIMEOUT: Duration = Duration::from_secs(30);

pub(crate) fn router() -> Router<App> {
    Router::new().route("/x-events/{runId}/{secret}", get(connect))
}

/// Accepts every connection: a Python Actor dies if its first one is refused (`EVT-3`). What is wrong is told by the code
/// with which the connection is closed (`EVT-4`).
async fn connect(State(app): State<App>, path: PathParams, upgrade: WebSocketUpgrade) -> Response {
    let events = RunId::parse(path.get("runId")).and_then(|run| app.engine().events(&run, path.get("secret")));
    upgrade.max_message_size(MAX_MESSAGE).max_frame_size(MAX_MESSAGE).on_upgrade(|socket| tell(socket, events))
}

async fn tell(mut socket: WebSocket, events: Option<EventStream>) {
    let Some(mut events) = events else {
        return close(socket, close_code::POLICY, "there is no live run at this address").await;
    };
    let mut ping = interval_at(Instant::now() + PING_EVERY, PING_EVERY);
    ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let message = tokio::select! {
            event = events.next() => match event {
                Some(event) => text(&event),
                // Python does not come again after this code, and JavaScript never does (EVT-5).
                None => return close(socket, close_code::NORMAL, "the run has ended").await,
            },
            received = socket.recv() => match received {
                // Pings are answered, and closing is agreed to, by the library itself.
                Some(Ok(_)) => continue,
                Some(Err(_)) | None => return,
            },
            _ = ping.tick() => Message::Ping(Default::default()),
        };
        if !matches!(timeout(SEND_TIMEOUT, socket.send(message)).await, Ok(Ok(()))) {
            return;
        }
    }
}

fn text(event: &Arc<str>) -> Message {
    Message::Text((&**event).into())
}

async fn close(mut socket: WebSocket, code: u16, reason: &'static str) {
    let frame = Message::Close(Some(CloseFrame { code, reason: reason.into() }));
    // Waits for the answer, so that the code arrives before the connection goes.
    let farewell = async {
        if socket.send(frame).await.is_ok() {
            while let Some(Ok(_)) = socket.recv().await {}
        }
    };
    let _ = timeout(SEND_TIMEOUT, farewell).await;
}
