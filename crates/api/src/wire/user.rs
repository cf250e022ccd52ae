//! Users as clients see them.

use std::collections::BTreeMap;

use model::{Timestamp, User, UserId};
use serde::Serialize;
use serde_json::{Map, Value};

/// The platform's features, all of them on or off for everybody (`USR-2`).
const FEATURES: [(&str, bool); 10] = [
    ("ACTORS", true),
    ("STORAGE", true),
    ("SCHEDULER", true),
    ("PROXY", true),
    ("PROXY_EXTERNAL_ACCESS", true),
    ("PROXY_RESIDENTIAL", false),
    ("PROXY_SERPS", false),
    ("WEBHOOKS", true),
    ("ACTORS_PUBLIC_ALL", true),
    ("ACTORS_PUBLIC_DEVELOPER", true),
];

/// What a user sees of itself (`USR-2`, `VAL-4`).
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct OwnUser<'a> {
    id: UserId,
    username: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    profile: Option<Profile<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    email: Option<&'a str>,
    proxy: Proxy<'a>,
    plan: Plan,
    effective_platform_features: BTreeMap<&'static str, Feature>,
    created_at: Timestamp,
    is_paying: bool,
}

impl<'a> OwnUser<'a> {
    /// The user as itself. A run that asks with its own token sees neither `profile` nor `email` (`AUTH-17`), nor does a token
    /// without a right to the account, but both keep `plan`, without which the Python client would read the answer as
    /// another user's (`USR-3`).
    pub(crate) fn new(user: &'a User, tells_all: bool, memory_mbytes: u32) -> Self {
        Self {
            id: user.id,
            username: &user.username,
            profile: tells_all.then(|| Profile::of(user)),
            email: user.email.as_deref().filter(|email| tells_all && !email.is_empty()),
            proxy: Proxy { password: &user.proxy_password, groups: [] },
            plan: Plan::new(memory_mbytes),
            effective_platform_features: FEATURES.into_iter().map(|(name, on)| (name, Feature::new(on))).collect(),
            created_at: user.created_at,
            // Charges of a self-hosted server reach nobody, and nothing is held back from those who do not pay.
            is_paying: true,
        }
    }
}

/// What everybody sees of a user (`USR-6`, `ID-8`).
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PublicUser<'a> {
    id: UserId,
    username: &'a str,
    profile: Profile<'a>,
}

impl<'a> PublicUser<'a> {
    /// The public part.
    pub(crate) fn new(user: &'a User) -> Self {
        Self { id: user.id, username: &user.username, profile: Profile::of(user) }
    }
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Profile<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    bio: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    picture_url: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    github_username: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    website_url: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    twitter_username: Option<&'a str>,
}

impl<'a> Profile<'a> {
    fn of(user: &'a User) -> Self {
        let profile = &user.profile;
        Self {
            name: profile.name.as_deref().unwrap_or(&user.username),
            bio: profile.bio.as_deref(),
            picture_url: profile.picture_url.as_deref(),
            github_username: profile.github_username.as_deref(),
            website_url: profile.website_url.as_deref(),
            twitter_username: profile.twitter_username.as_deref(),
        }
    }
}

#[derive(Debug, Serialize)]
struct Proxy<'a> {
    password: &'a str,
    /// The proxy connects directly; there are no groups to choose from.
    groups: [&'static str; 0],
}

/// A plan that holds nothing back.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Plan {
    id: &'static str,
    description: &'static str,
    is_enabled: bool,
    monthly_base_price_usd: u64,
    monthly_usage_credits_usd: u64,
    usage_discount_percent: u64,
    enabled_platform_features: Vec<&'static str>,
    #[serde(flatten)]
    limits: Map<String, Value>,
    available_proxy_groups: Map<String, Value>,
    support_level: &'static str,
    available_add_ons: [&'static str; 0],
    tier: &'static str,
    api_rate_limit_boosts: u64,
    plan_pricing: Map<String, Value>,
}

impl Plan {
    fn new(memory_mbytes: u32) -> Self {
        let mut limits = limits(memory_mbytes);
        limits.insert("maxConcurrentActorRuns".to_owned(), UNLIMITED.into());
        limits.insert("teamAccountSeatCount".to_owned(), UNLIMITED.into());
        Self {
            id: "PLAYHOUSE",
            description: "Self-hosted",
            is_enabled: true,
            monthly_base_price_usd: 0,
            monthly_usage_credits_usd: 0,
            usage_discount_percent: 0,
            enabled_platform_features: FEATURES.into_iter().filter(|(_, on)| *on).map(|(name, _)| name).collect(),
            limits,
            available_proxy_groups: Map::new(),
            support_level: "COMMUNITY",
            available_add_ons: [],
            tier: "FREE",
            api_rate_limit_boosts: 0,
            plan_pricing: Map::new(),
        }
    }
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Feature {
    is_enabled: bool,
    disabled_reason: Option<&'static str>,
    disabled_reason_type: Option<&'static str>,
    is_trial: bool,
    trial_expiration_at: Option<Timestamp>,
}

impl Feature {
    fn new(is_enabled: bool) -> Self {
        Self {
            is_enabled,
            disabled_reason: (!is_enabled).then_some("This server has no proxies of this kind."),
            disabled_reason_type: (!is_enabled).then_some("DISABLED"),
            is_trial: false,
            trial_expiration_at: None,
        }
    }
}

/// A number that clients must be sent although there is no limit.
pub(crate) const UNLIMITED: u64 = 1_000_000;

/// The limits of every account (`USR-7`).
pub(crate) fn limits(memory_mbytes: u32) -> Map<String, Value> {
    let mut limits = Map::new();
    for name in [
        "maxMonthlyUsageUsd",
        "maxMonthlyActorComputeUnits",
        "maxMonthlyExternalDataTransferGbytes",
        "maxMonthlyProxySerps",
        "maxMonthlyResidentialProxyGbytes",
        "maxActorCount",
        "maxActorTaskCount",
        "maxScheduleCount",
        "dataRetentionDays",
    ] {
        limits.insert(name.to_owned(), UNLIMITED.into());
    }
    limits.insert("maxActorMemoryGbytes".to_owned(), (f64::from(memory_mbytes) / 1024.0).into());
    limits
}
