//! Who may do what with a storage: every caller, every way to refer to it, every level, every operation, against a small
//! model of the rules (`P1` to `P15`, `A5`).

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeSet;
use std::time::Duration;

use engine::EngineConfig;
use model::GeneralAccess::{self, AnyoneWithIdCanRead, AnyoneWithNameCanRead, FollowUserSetting, Restricted};
use model::{PermissionLevel, RunId, StorageId, StorageKind, Timestamp, signature};
use serde_json::json;

use self::Caller::*;
use self::Needs::*;
use self::Opens::*;
use self::Reference::*;
use crate::harness::{Ask, Reply, TestServer};

#[derive(Clone, Copy, Debug, PartialEq)]
enum Needs {
    Read,
    Write,
}

/// Which signature opens an operation.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Opens {
    Nothing,
    Content,
    Record,
}

/// An operation, and the statuses with which it is answered when it is allowed.
struct Operation(StorageKind, &'static str, &'static str, Needs, Opens, &'static str, &'static [u16]);

use StorageKind::{Dataset as D, KeyValueStore as K, RequestQueue as Q};

const REQUEST: &str = r#"{"uniqueKey":"k4","url":"http://example.com"}"#;
const REQUESTS: &str = r#"[{"uniqueKey":"k4","url":"http://example.com"}]"#;

/// All of them; what takes something away comes last.
const OPERATIONS: &[Operation] = &[
    Operation(D, "GET", "", Read, Nothing, "", &[200]),
    Operation(D, "GET", "/items", Read, Content, "", &[200]),
    Operation(D, "GET", "/statistics", Read, Nothing, "", &[200]),
    Operation(D, "PUT", "", Write, Nothing, "{}", &[200]),
    Operation(D, "POST", "/items", Write, Nothing, "{}", &[201]),
    Operation(D, "DELETE", "", Write, Nothing, "", &[204]),
    Operation(K, "GET", "", Read, Nothing, "", &[200]),
    Operation(K, "GET", "/keys", Read, Content, "", &[200]),
    Operation(K, "GET", "/records", Read, Content, "", &[200]),
    Operation(K, "GET", "/records/{key}", Read, Record, "", &[200]),
    Operation(K, "PUT", "", Write, Nothing, "{}", &[200]),
    Operation(K, "PUT", "/records/{key}", Write, Nothing, "v", &[201]),
    Operation(K, "POST", "/records/{key}", Write, Nothing, "v", &[201]),
    Operation(K, "DELETE", "/records/{key}", Write, Nothing, "", &[204]),
    Operation(K, "DELETE", "", Write, Nothing, "", &[204]),
    Operation(Q, "GET", "", Read, Nothing, "", &[200]),
    Operation(Q, "GET", "/requests", Read, Nothing, "", &[200]),
    Operation(Q, "GET", "/requests/{requestId}", Read, Nothing, "", &[200]),
    Operation(Q, "GET", "/head", Read, Nothing, "", &[200]),
    Operation(Q, "GET", "/x-stats", Read, Nothing, "", &[200]),
    Operation(Q, "PUT", "", Write, Nothing, "{}", &[200]),
    Operation(Q, "POST", "/requests", Write, Nothing, REQUEST, &[201]),
    Operation(Q, "POST", "/requests/batch", Write, Nothing, REQUESTS, &[201]),
    Operation(Q, "PUT", "/requests/{requestId}", Write, Nothing, REQUEST, &[200]),
    Operation(Q, "POST", "/head/lock", Write, Nothing, "", &[201]),
    Operation(Q, "PUT", "/requests/{requestId}/lock", Write, Nothing, "", &[200]),
    Operation(Q, "DELETE", "/requests/{requestId}/lock", Write, Nothing, "", &[204]),
    Operation(Q, "POST", "/requests/unlock", Write, Nothing, "", &[200]),
    Operation(Q, "POST", "/x-requeue", Write, Nothing, "", &[200]),
    Operation(Q, "DELETE", "/requests/batch", Write, Nothing, REQUESTS, &[200]),
    Operation(Q, "DELETE", "/requests/{requestId}", Write, Nothing, "", &[204, 404]),
    Operation(Q, "DELETE", "", Write, Nothing, "", &[204]),
];

const REQUEST_ID: &str = "lAkd1kohlCFLxtF";

#[derive(Clone, Copy, Debug, PartialEq)]
enum Caller {
    Owner,
    /// The token of the run to which the storage belongs, or of one that has nothing to do with it but full permissions.
    OwnRun,
    OtherRun,
    OtherUser,
    Anonymous,
    /// Without a token, with the signature that fits the operation.
    Signed,
    SignedOtherUser,
    /// With a signature that is over, or nobody's, or for something else.
    Expired,
    Wrong,
    Crossed,
}

const CALLERS: [Caller; 10] =
    [Owner, OwnRun, OtherRun, OtherUser, Anonymous, Signed, SignedOtherUser, Expired, Wrong, Crossed];

impl Caller {
    fn is_owner(self) -> bool {
        matches!(self, Owner | OwnRun | OtherRun)
    }

    fn has_token(self) -> bool {
        self.is_owner() || matches!(self, OtherUser | SignedOtherUser)
    }

    /// Content signatures end; those of records do not.
    fn opens(self, by: Opens) -> bool {
        by != Nothing && matches!(self, Signed | SignedOtherUser)
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Reference {
    ById,
    ByOwnName,
    ByUsername,
    ByUserId,
    /// The default storage of a run: by its id, by the run, and by the run as the Actor's last.
    OfRunById,
    OfRun,
    OfLastRun,
}

impl Reference {
    fn is_of_run(self) -> bool {
        matches!(self, OfRunById | OfRun | OfLastRun)
    }
}

/// Levels that are set, and what the account says.
#[derive(Clone, Copy, Debug)]
struct Levels {
    storage: GeneralAccess,
    run: GeneralAccess,
    account_storage: GeneralAccess,
    account_run: GeneralAccess,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Verdict {
    Allowed,
    NoToken,
    Refused,
    /// As if there were no such run or storage: with a token, or without one.
    Hidden,
    HiddenOrNoToken,
}

/// The rules.
fn verdict(caller: Caller, reference: Reference, levels: Levels, needs: Needs, opens: Opens) -> Verdict {
    if needs == Write && !caller.has_token() {
        return Verdict::NoToken;
    }
    // "My storage" and "the last run" mean something only to somebody, and something else to each (`S2`, `A2`).
    if matches!(reference, ByOwnName | OfLastRun) && !caller.is_owner() {
        return if caller.has_token() { Verdict::Hidden } else { Verdict::NoToken };
    }
    if caller.is_owner() || (needs == Read && caller.opens(opens)) {
        return Verdict::Allowed;
    }
    let run = if levels.run == FollowUserSetting { levels.account_run } else { levels.run };
    let followed = if reference.is_of_run() { run } else { levels.account_storage };
    let storage = if levels.storage == FollowUserSetting { followed } else { levels.storage };
    let run_is_open = run == AnyoneWithIdCanRead;
    let storage_is_open = match reference {
        ByUsername | ByUserId => storage == AnyoneWithNameCanRead,
        _ => matches!(storage, AnyoneWithIdCanRead | AnyoneWithNameCanRead),
    };
    match reference {
        // Both must be open (`A5`), and a run that is not is not there.
        OfRun if !run_is_open && caller.has_token() => Verdict::Hidden,
        OfRun if !run_is_open => Verdict::HiddenOrNoToken,
        _ if needs == Read && storage_is_open => Verdict::Allowed,
        _ => Verdict::Refused,
    }
}

/// Storages of all three kinds, and all that may be known of them.
struct Given {
    ids: [StorageId; 3],
    secrets: [String; 3],
    name: String,
    run: Option<RunId>,
}

struct Matrix {
    server: TestServer,
    owner_id: String,
    other_user: String,
    other_run: String,
    last_name: u32,
    asked: usize,
}

impl Matrix {
    async fn start(account_storage: GeneralAccess, account_run: GeneralAccess) -> Self {
        let config =
            EngineConfig { storage_access: account_storage, run_access: account_run, ..EngineConfig::default() };
        let server = TestServer::start_with(config).await;
        let other_user = server.given_user("bob").await;
        let other_run = server.engine.running_with(PermissionLevel::FullPermissions).await;
        let other_run = server.run_token(&other_run.id);
        let owner_id = server.engine.ada.user.id.to_string();
        Self { server, owner_id, other_user, other_run, last_name: 0, asked: 0 }
    }

    async fn given(&mut self, reference: Reference, levels: Levels) -> Given {
        let server = &self.server;
        self.last_name += 1;
        let name = format!("s-{}", self.last_name);
        let (ids, run) = if reference.is_of_run() {
            // So that it is the newest.
            tokio::time::sleep(Duration::from_millis(10)).await;
            let run = server.engine.running(Default::default()).await;
            let level = json!({"generalAccess": levels.run});
            server.put(&format!("/v2/actor-runs/{}", run.id)).json(level).await.expect(200);
            let ids = [run.storages.dataset, run.storages.key_value_store, run.storages.request_queue];
            (ids, Some(run.id))
        } else {
            let mut ids = Vec::new();
            for kind in [D, K, Q] {
                let made = server.post(&format!("/v2/{}?name={name}", kind.plural())).await.expect(201).data();
                ids.push(StorageId::parse(made["id"].as_str().unwrap()).unwrap());
            }
            (ids.try_into().unwrap(), None)
        };
        let mut secrets = Vec::new();
        for (kind, id) in [D, K, Q].into_iter().zip(ids) {
            let path = format!("/v2/{}/{id}", kind.plural());
            let storage = server.put(&path).json(json!({"generalAccess": levels.storage})).await.expect(200).data();
            assert_eq!(storage["generalAccess"], json!(levels.storage));
            secrets.push(storage["urlSigningSecretKey"].as_str().unwrap_or_default().to_owned());
        }
        server.put(&format!("/v2/key-value-stores/{}/records/K", ids[1])).body("v").await.expect(201);
        let request: serde_json::Value = serde_json::from_str(REQUEST).unwrap();
        server.post(&format!("/v2/request-queues/{}/requests", ids[2])).json(request).await.expect(201);
        Given { ids, secrets: secrets.try_into().unwrap(), name, run }
    }

    /// Does everything as one caller, and compares.
    async fn check(&mut self, caller: Caller, reference: Reference, levels: Levels) {
        let given = self.given(reference, levels).await;
        for operation in OPERATIONS {
            let Operation(kind, method, tail, needs, opens, body, allowed) = operation;
            let at = index(*kind);
            let address = match reference {
                ById | OfRunById => format!("/v2/{}/{}", kind.plural(), given.ids[at]),
                ByOwnName => format!("/v2/{}/~{}", kind.plural(), given.name),
                ByUsername => format!("/v2/{}/Ada~{}", kind.plural(), given.name),
                ByUserId => format!("/v2/{}/{}~{}", kind.plural(), self.owner_id, given.name),
                OfRun => format!("/v2/actor-runs/{}/{}", given.run.unwrap(), kind.singular()),
                OfLastRun => format!("/v2/actors/ada~my-actor/runs/last/{}", kind.singular()),
            };
            let tail = tail.replace("{key}", "K").replace("{requestId}", REQUEST_ID);
            let path = format!(
                "{address}{tail}?lockSecs=60&clientKey=ck{}",
                signed(caller, *opens, &given.secrets[at], &given.ids[at])
            );
            let verdict = verdict(caller, reference, levels, *needs, *opens);

            let what = format!("{caller:?} {method} {path} ({reference:?}, {levels:?})");
            if *method == "GET" {
                let head = self.send(caller, &given, "HEAD", &path, "").await;
                let get = self.send(caller, &given, "GET", &path, "").await;
                assert_eq!(head.status, get.status, "{what}");
            }
            let reply = self.send(caller, &given, method, &path, body).await;
            compare(&reply, verdict, *kind, allowed, &what);
        }
        if let Some(run) = given.run {
            self.server.engine.exit(&run, 0);
            self.server.engine.ended(&run).await;
        }
    }

    async fn send(&mut self, caller: Caller, given: &Given, method: &str, path: &str, body: &str) -> Reply {
        self.asked += 1;
        let server = &self.server;
        let ask: Ask<'_> = server.ask(method.parse().unwrap(), path);
        let ask =
            if body.is_empty() { ask } else { ask.header("content-type", "application/json").body(body.to_owned()) };
        let ask = match caller {
            Owner => ask,
            OwnRun => match &given.run {
                Some(run) => ask.token(&server.run_token(run)),
                None => ask.token(&self.other_run),
            },
            OtherRun => ask.token(&self.other_run),
            OtherUser | SignedOtherUser => ask.token(&self.other_user),
            Anonymous | Signed | Expired | Wrong | Crossed => ask.anonymous(),
        };
        ask.await
    }
}

fn index(kind: StorageKind) -> usize {
    match kind {
        D => 0,
        K => 1,
        Q => 2,
    }
}

/// The signature in the query, if the caller has any.
fn signed(caller: Caller, opens: Opens, secret: &str, id: &StorageId) -> String {
    let content = |expires| signature::sign_content(secret, id, expires);
    let record = signature::sign(secret, "K");
    let signature = match (caller, opens) {
        (Signed | SignedOtherUser, Record) | (Crossed, Content) => record,
        (Signed | SignedOtherUser, _) | (Crossed, Record | Nothing) => content(None),
        (Expired, _) => content(Some(Timestamp::from_millis(1))),
        (Wrong, Record) => signature::sign(secret, "L"),
        (Wrong, _) => signature::sign_content("another secret", id, None),
        _ => return String::new(),
    };
    format!("&signature={signature}")
}

#[track_caller]
fn compare(reply: &Reply, verdict: Verdict, kind: StorageKind, allowed: &[u16], what: &str) {
    let status = reply.status.as_u16();
    let (expected, error) = match verdict {
        Verdict::Allowed => {
            assert!(allowed.contains(&status), "{what}: {reply:?}");
            return;
        }
        Verdict::NoToken => (401, "token-not-provided"),
        Verdict::Refused => (403, "insufficient-permissions"),
        Verdict::Hidden => (404, "record-not-found"),
        Verdict::HiddenOrNoToken => (404, "record-or-token-not-found"),
    };
    assert_eq!(status, expected, "{what}: {reply:?}");
    let answer = reply.json();
    assert_eq!(answer["error"]["type"], error, "{what}");
    if verdict == Verdict::Refused {
        let words = format!(
            "Insufficient permissions for the {kind}. Make sure you're passing a correct API token and that it has the \
             required permissions."
        );
        assert_eq!(answer["error"]["message"], words, "{what}");
    }
}

#[tokio::test(start_paused = true)]
async fn storages_are_open_to_those_whom_their_level_or_a_signature_lets_in() {
    for account_storage in [Restricted, AnyoneWithIdCanRead] {
        let mut matrix = Matrix::start(account_storage, Restricted).await;
        for storage in [FollowUserSetting, Restricted, AnyoneWithIdCanRead, AnyoneWithNameCanRead] {
            let levels = Levels { storage, run: FollowUserSetting, account_storage, account_run: Restricted };
            for reference in [ById, ByOwnName, ByUsername, ByUserId] {
                for caller in CALLERS {
                    matrix.check(caller, reference, levels).await;
                }
            }
        }
        assert!(matrix.asked >= 4 * 4 * 10 * 30);
    }
}

#[tokio::test(start_paused = true)]
async fn the_storages_of_a_run_are_open_to_those_whom_the_run_lets_in_too() {
    for account_run in [Restricted, AnyoneWithIdCanRead] {
        let mut matrix = Matrix::start(Restricted, account_run).await;
        for run in [FollowUserSetting, Restricted, AnyoneWithIdCanRead] {
            // What the account says matters only to those who follow it.
            if account_run == AnyoneWithIdCanRead && run != FollowUserSetting {
                continue;
            }
            for storage in [FollowUserSetting, Restricted, AnyoneWithIdCanRead] {
                let levels = Levels { storage, run, account_storage: Restricted, account_run };
                for reference in [OfRunById, OfRun, OfLastRun] {
                    for caller in CALLERS {
                        matrix.check(caller, reference, levels).await;
                    }
                }
            }
        }
    }
}

#[tokio::test]
async fn the_matrix_has_every_operation() {
    let server = TestServer::start().await;
    let id = "aaaaaaaaaaaaaaaaa";
    let mut found = BTreeSet::new();
    for (kind, tail) in playhouse_api::storage_endpoints() {
        let path = tail.replace("{key}", "K").replace("{requestId}", REQUEST_ID);
        let message = server.ask("PATCH".parse().unwrap(), &format!("/v2/{}/{id}{path}", kind.plural())).await;
        let message = message.expect_error(405, "method-not-allowed");
        let methods = message.rsplit_once("OPTIONS,").expect("a list of methods").1;
        for method in methods.split(',').filter(|method| *method != "HEAD") {
            found.insert((kind.plural(), method.to_owned(), tail));
        }
    }
    let known: BTreeSet<_> = OPERATIONS.iter().map(|row| (row.0.plural(), row.1.to_owned(), row.2)).collect();
    assert_eq!(found, known);
}
