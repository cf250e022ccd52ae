//! Users, the store and small tools (sections 22 and 23 of the contract).

use serde_json::json;

use crate::harness::TestServer;
use crate::platform::{ACTOR, id, insist};

#[tokio::test(start_paused = true)]
async fn a_user_sees_all_of_itself_and_others_a_little() {
    let server = TestServer::start().await;

    let me = server.get("/v2/users/me").await.expect(200).data();
    insist(
        &me,
        &[
            "id",
            "username",
            "profile",
            "proxy.password",
            "proxy.groups",
            "plan.availableProxyGroups",
            "isPaying",
            "createdAt",
        ],
    );
    for feature in [
        "ACTORS",
        "STORAGE",
        "SCHEDULER",
        "PROXY",
        "PROXY_EXTERNAL_ACCESS",
        "PROXY_RESIDENTIAL",
        "PROXY_SERPS",
        "WEBHOOKS",
        "ACTORS_PUBLIC_ALL",
        "ACTORS_PUBLIC_DEVELOPER",
    ] {
        let feature = me["effectivePlatformFeatures"][feature].as_object().unwrap();
        for field in ["isEnabled", "disabledReason", "disabledReasonType", "isTrial", "trialExpirationAt"] {
            assert!(feature.contains_key(field), "{field}");
        }
    }
    assert_eq!(me.get("email"), None, "never an empty string");
    server.get("/v2/users/me").anonymous().await.expect_error(401, "token-not-provided");
    server.get("/v2/users/me").token("x").await.expect_error(401, "user-or-token-not-found");

    for reference in ["ada", "ADA", &id(&me)] {
        let seen = server.get(&format!("/v2/users/{reference}")).anonymous().await.expect(200).data();
        assert_eq!((id(&seen), &seen["username"]), (id(&me), &json!("ada")));
        assert_eq!((seen.get("proxy"), seen.get("email")), (None, None));
    }
    for unknown in ["nobody", "aB3aB3aB3aB3aB3aB"] {
        server.get(&format!("/v2/users/{unknown}")).anonymous().await.expect_error(404, "record-not-found");
    }
}

#[tokio::test(start_paused = true)]
async fn a_run_sees_its_user_without_what_is_personal() {
    let server = TestServer::start().await;
    let run = server.given_running().await;
    let token = server.token_of(&run).await;

    let me = server.get("/v2/users/me").token(&token).await.expect(200).data();

    assert_eq!((me.get("email"), me.get("profile")), (None, None));
    insist(
        &me,
        &["id", "username", "plan.availableProxyGroups", "proxy.password", "effectivePlatformFeatures", "isPaying"],
    );
}

#[tokio::test(start_paused = true)]
async fn limits_and_usage_have_every_field() {
    let server = TestServer::start().await;
    let run = server.given_running().await;
    tokio::time::sleep(crate::platform::secs(1800)).await;

    let limits = server.get("/v2/users/me/limits").await.expect(200).data();
    insist(&limits, &["monthlyUsageCycle.startAt", "monthlyUsageCycle.endAt"]);
    for field in [
        "maxMonthlyUsageUsd",
        "maxMonthlyActorComputeUnits",
        "maxMonthlyExternalDataTransferGbytes",
        "maxMonthlyProxySerps",
        "maxMonthlyResidentialProxyGbytes",
        "maxActorMemoryGbytes",
        "maxActorCount",
        "maxActorTaskCount",
        "maxConcurrentActorJobs",
        "maxTeamAccountSeatCount",
        "dataRetentionDays",
        "maxScheduleCount",
    ] {
        assert!(limits["limits"][field].is_number(), "{field}");
    }
    for field in [
        "monthlyUsageUsd",
        "monthlyActorComputeUnits",
        "monthlyExternalDataTransferGbytes",
        "monthlyProxySerps",
        "monthlyResidentialProxyGbytes",
        "actorMemoryGbytes",
        "actorCount",
        "actorTaskCount",
        "activeActorJobCount",
        "teamAccountSeatCount",
        "scheduleCount",
    ] {
        assert!(limits["current"][field].is_number(), "{field}");
    }
    assert_eq!((&limits["current"]["activeActorJobCount"], &limits["current"]["actorCount"]), (&json!(1), &json!(1)));
    for (path, body) in [
        ("/v2/actor-tasks", json!({ "actId": "ada~my-actor" })),
        ("/v2/actor-tasks", json!({ "actId": "ada~my-actor" })),
        ("/v2/schedules", json!({ "cronExpression": "@daily" })),
    ] {
        server.post(path).json(body).await.expect(201);
    }
    let current = server.get("/v2/users/me/limits").await.expect(200).data()["current"].clone();
    assert_eq!((&current["actorTaskCount"], &current["scheduleCount"]), (&json!(2), &json!(1)));

    server.end(&run, 0).await;
    let usage = server.get("/v2/users/me/usage/monthly").await.expect(200).data();
    assert_eq!(
        usage["usageCycle"],
        json!({ "startAt": "2026-08-01T00:00:00.000Z", "endAt": "2026-08-31T23:59:59.999Z" })
    );
    insist(&usage["dailyServiceUsages"][0], &["date", "serviceUsage.ACTOR_COMPUTE_UNITS", "totalUsageCreditsUsd"]);
    let units = &usage["monthlyServiceUsage"]["ACTOR_COMPUTE_UNITS"];
    insist(units, &["quantity", "baseAmountUsd"]);
    assert!(usage["totalUsageCreditsUsdBeforeVolumeDiscount"].as_f64().unwrap() > 0.0);

    let empty = server.get("/v2/users/me/usage/monthly?date=1999-02-03").await.expect(200).data();
    assert_eq!((&empty["monthlyServiceUsage"], &empty["dailyServiceUsages"]), (&json!({}), &json!([])));
    assert_eq!(empty["usageCycle"]["endAt"], "1999-02-28T23:59:59.999Z");
    server.get("/v2/users/me/usage/monthly?date=soon").await.expect_error(400, "invalid-request");
}

#[tokio::test(start_paused = true)]
async fn limits_that_users_set_are_shown_and_kept() {
    let server = TestServer::start().await;
    let set = |body: serde_json::Value| server.put("/v2/users/me/limits").json(body);
    let shown = async || {
        let limits = server.get("/v2/users/me/limits").await.expect(200).data()["limits"].clone();
        (limits["maxMonthlyUsageUsd"].as_f64().unwrap(), limits["dataRetentionDays"].as_f64().unwrap())
    };

    let answer = set(json!({ "maxMonthlyUsageUsd": 0.5, "dataRetentionDays": 7 })).await.expect(201);
    assert_eq!(answer.json(), json!({}), "USR-7");
    assert_eq!(shown().await, (0.5, 7.0));
    set(json!({ "dataRetentionDays": 14.0 })).await.expect(201);
    assert_eq!(shown().await, (0.5, 14.0), "what is left out stays");
    for bad in [
        json!({ "dataRetentionDays": "x" }),
        json!({ "dataRetentionDays": 0 }),
        json!({ "dataRetentionDays": 1.5 }),
        json!({ "dataRetentionDays": 1e9 }),
        json!({ "maxMonthlyUsageUsd": -1 }),
        json!({ "maxMonthlyUsageUsd": true, "dataRetentionDays": 1 }),
        json!([]),
    ] {
        set(bad.clone()).await.expect_error(400, "invalid-request");
        assert_eq!(shown().await, (0.5, 14.0), "{bad}");
    }
    set(json!({ "maxMonthlyUsageUsd": null })).await.expect(201);
    assert_eq!(shown().await, (1_000_000.0, 14.0));
    server.put("/v2/users/me/limits").await.expect(201);
    server.put("/v2/users/me/limits").anonymous().await.expect_error(401, "token-not-provided");
    let run = server.given_running().await;
    let token = server.token_of(&run).await;
    server.put("/v2/users/me/limits").token(&token).json(json!({})).await.expect_error(403, "insufficient-permissions");
}

#[tokio::test(start_paused = true)]
async fn starts_beyond_a_limit_are_refused_in_the_words_that_callers_know() {
    let server = TestServer::start().await;
    let ada = server.engine.ada.user.id;
    let runs = format!("{ACTOR}/runs");
    let limit = |memory, runs, usd| {
        let change = move |user: &mut model::User| {
            (user.max_memory_mbytes, user.max_concurrent_runs, user.max_monthly_usage_usd) = (memory, runs, usd);
        };
        server.engine.engine.modify_user(&ada, change)
    };

    limit(Some(1024), None, None).await.unwrap();
    let message = server.post(&format!("{runs}?memory=2048")).await.expect_error(402, "actor-memory-limit-exceeded");
    assert!(message.contains("memory limit of 1024MB") && message.contains("requested: 2048MB"), "{message}");
    let build = server.post(&format!("{ACTOR}/builds?version=0.0")).await;
    build.expect_error(402, "actor-memory-limit-exceeded");
    let limits = server.get("/v2/users/me/limits").await.expect(200).data();
    assert_eq!(limits["limits"]["maxActorMemoryGbytes"], 1.0);
    limit(None, Some(1), None).await.unwrap();
    server.given_running().await;
    server.post(&runs).await.expect_error(402, "concurrent-runs-limit-exceeded");
    limit(None, None, Some(0.0)).await.unwrap();
    let message = server.post(&runs).await.expect_error(403, "platform-feature-disabled");
    assert_eq!(message, "Monthly usage hard limit exceeded");
    assert_eq!(server.get("/v2/actor-runs").await.expect(200).data()["total"], 1, "nothing was made");
}

#[tokio::test(start_paused = true)]
async fn usage_is_that_of_its_day_and_of_its_user() {
    let server = TestServer::start().await;
    let run = server.given_running().await;
    let dataset = server.get(&format!("/v2/actor-runs/{run}")).await.data()["defaultDatasetId"].clone();
    let token = server.token_of(&run).await;
    let push = format!("/v2/datasets/{}/items", dataset.as_str().unwrap());
    server.post(&push).token(&token).json(json!([{}, {}])).await.expect(201);
    server.end(&run, 0).await;
    let month =
        async |date: &str| server.get(&format!("/v2/users/me/usage/monthly?date={date}")).await.expect(200).data();

    let august = month("2026-08-01").await;
    assert_eq!(august["dailyServiceUsages"][0]["date"], "2026-08-31T00:00:00.000Z");
    assert_eq!(august["monthlyServiceUsage"]["DATASET_WRITES"]["quantity"], 2.0);
    server.delete(&format!("/v2/actor-runs/{run}")).await.expect(204);
    tokio::time::sleep(crate::platform::secs(86_400)).await;

    assert_eq!(month("2026-08-15").await, august, "what was used was used");
    assert_eq!(month("2026-09-01").await["dailyServiceUsages"], json!([]));
    assert_eq!(
        server.get("/v2/users/me/usage/monthly").await.data()["usageCycle"]["startAt"],
        "2026-09-01T00:00:00.000Z"
    );
}

#[tokio::test(start_paused = true)]
async fn a_profile_shows_what_the_user_told() {
    let server = TestServer::start().await;
    let change = |user: &mut model::User| {
        user.email = Some("ada@example.com".to_owned());
        user.profile.name = Some("Ada Lovelace".to_owned());
        user.profile.bio = Some("Reads patterns".to_owned());
        user.profile.website_url = Some("https://ada.example".to_owned());
    };
    server.engine.engine.modify_user(&server.engine.ada.user.id, change).await.unwrap();
    let profile = json!({ "name": "Ada Lovelace", "bio": "Reads patterns", "websiteUrl": "https://ada.example" });

    let me = server.get("/v2/users/me").await.expect(200).data();
    let seen = server.get("/v2/users/ada").anonymous().await.expect(200).data();

    assert_eq!((&me["profile"], &me["email"]), (&profile, &json!("ada@example.com")));
    assert_eq!((&seen["profile"], seen.get("email")), (&profile, None));
}

#[tokio::test(start_paused = true)]
async fn the_store_shows_public_actors_to_everybody() {
    let server = TestServer::start().await;
    let list = async |query: &str| server.get(&format!("/v2/store?{query}")).anonymous().await.expect(200).data();
    assert_eq!(list("").await["total"], 0, "an empty page");
    server.given_public_actor().await;
    let body = json!({ "name": "scraper", "title": "Other", "description": "Reads maps", "isPublic": true, "categories": ["TRAVEL"] });
    server.post("/v2/actors").json(body).await.expect(201);
    server.given_run().await;

    let all = list("").await;
    insist(&all, &["total", "offset", "limit", "count", "desc", "items"]);
    let item = &all["items"][0];
    insist(
        item,
        &[
            "id",
            "title",
            "name",
            "username",
            "stats.totalUsers",
            "currentPricingInfo.pricingModel",
            "url",
            "categories",
        ],
    );
    assert_eq!((&all["total"], &item["name"]), (&json!(2), &json!("my-actor")), "the popular one first");
    for (query, names) in [
        ("search=MAPS", vec!["scraper"]),
        ("search=my", vec!["my-actor"]),
        ("category=TRAVEL", vec!["scraper"]),
        ("username=ada&sortBy=popularity", vec!["my-actor", "scraper"]),
        ("username=bob", vec![]),
        ("pricingModel=FREE&offset=1", vec!["scraper"]),
        ("pricingModel=PAY_PER_EVENT", vec![]),
        ("limit=1&responseFormat=agent", vec!["my-actor"]),
    ] {
        let list = list(query).await;
        let found: Vec<&str> =
            list["items"].as_array().unwrap().iter().map(|item| item["name"].as_str().unwrap()).collect();
        assert_eq!(found, names, "{query}");
    }
    let bob = server.given_user("bob").await;
    server.post("/v2/actors/ada~my-actor/runs").token(&bob).await.expect(201);
    let used = server.get(ACTOR).await.expect(200).data();
    assert_eq!((&used["stats"]["totalUsers"], &used["stats"]["totalUsers7Days"]), (&json!(2), &json!(2)));
    assert_eq!(list("search=reads+map").await["items"][0]["stats"]["totalUsers"], 0);
    server.get("/v2/store?sortBy=luck").await.expect_error(400, "invalid-request");
    server.put(ACTOR).json(json!({ "isPublic": false })).await.expect(200);
    assert_eq!(list("").await["total"], 1);
}

#[tokio::test(start_paused = true)]
async fn browser_info_tells_how_a_request_looks() {
    let server = TestServer::start().await;

    let info = server
        .post("/v2/browser-info?rawHeaders=1")
        .anonymous()
        .header("x-test", "a")
        .body("1234")
        .await
        .expect(200)
        .json();
    assert_eq!(
        (&info["method"], &info["bodyLength"], &info["clientIp"]),
        (&json!("POST"), &json!(4), &json!("127.0.0.1"))
    );
    assert_eq!((&info["headers"], &info["rawHeaders"]), (&json!({ "x-test": "a" }), &json!(["x-test", "a"])));
    let info = server.delete("/v2/browser-info?skipHeaders=true").anonymous().await.expect(200).json();
    assert_eq!((&info["method"], info.get("headers"), &info["bodyLength"]), (&json!("DELETE"), None, &json!(0)));
}

#[tokio::test(start_paused = true)]
async fn what_was_signed_here_is_verified_and_nothing_else() {
    let server = TestServer::start().await;
    let me = id(&server.get("/v2/users/me").await.expect(200).data());
    let message = json!({ "a": [1, "ü"], "b": null });

    let encoded =
        server.post("/v2/tools/encode-and-sign").json(message.clone()).await.expect(200).data()["encoded"].clone();
    let decode = |encoded| server.post("/v2/tools/decode-and-verify").anonymous().json(json!({ "encoded": encoded }));
    let decoded = decode(encoded.clone()).await.expect(200).data();
    assert_eq!(decoded, json!({ "decoded": message, "encodedByUserId": me, "isVerifiedUser": true }));

    let sealed_elsewhere = server.engine.engine.seal(r#"{"a":1}"#);
    for wrong in [json!("x"), json!(format!("{}A", encoded.as_str().unwrap())), json!(sealed_elsewhere)] {
        decode(wrong).await.expect_error(400, "invalid-signature");
    }
    decode(json!(1)).await.expect_error(400, "invalid-request");
    server.post("/v2/tools/encode-and-sign").json(json!([1])).await.expect_error(400, "invalid-request");
    server.post("/v2/tools/encode-and-sign").anonymous().json(json!({})).await.expect_error(401, "token-not-provided");
}
