//! The figure of `X-RateLimit-Limit`. Nothing is limited here; clients read it to pace themselves (`G21`, `RATE-1`).

use http::{HeaderValue, Method};

const DEFAULT: HeaderValue = HeaderValue::from_static("60");
const BATCH: HeaderValue = HeaderValue::from_static("40");
const RECORD: HeaderValue = HeaderValue::from_static("200");
const FREQUENT: HeaderValue = HeaderValue::from_static("400");

/// The platform's figure for an address, in requests a second (storages, section 11.2).
pub(super) fn limit_of(method: &Method, path: &str) -> HeaderValue {
    let (above, last) = path.rsplit_once('/').unwrap_or_default();
    let parent = above.rsplit_once('/').unwrap_or_default().1;
    match (parent, last) {
        ("records", _) => RECORD,
        (_, "items") if method == Method::POST => FREQUENT,
        ("requests", "batch") => BATCH,
        ("head", "lock") => BATCH,
        ("requests", _) | (_, "requests" | "metamorph" | "runs")
            if last != "requests" && last != "runs" || method == Method::POST =>
        {
            FREQUENT
        }
        (_, "lock") => FREQUENT,
        _ => DEFAULT,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_those_of_the_platform() {
        for (method, path, figure) in [
            (Method::GET, "/v2/datasets/x", "60"),
            (Method::GET, "/v2/datasets/x/items", "60"),
            (Method::POST, "/v2/datasets/x/items", "400"),
            (Method::PUT, "/v2/key-value-stores/x/records/a", "200"),
            (Method::GET, "/v2/key-value-stores/x/records", "60"),
            (Method::POST, "/v2/request-queues/x/requests", "400"),
            (Method::GET, "/v2/request-queues/x/requests", "60"),
            (Method::PUT, "/v2/actor-runs/x/request-queue/requests/y", "400"),
            (Method::PUT, "/v2/request-queues/x/requests/y/lock", "400"),
            (Method::POST, "/v2/request-queues/x/requests/batch", "40"),
            (Method::POST, "/v2/request-queues/x/head/lock", "40"),
            (Method::POST, "/v2/actors/x/runs", "400"),
            (Method::GET, "/v2/actors/x/runs", "60"),
            (Method::GET, "", "60"),
        ] {
            assert_eq!(limit_of(&method, path), figure, "{method} {path}");
        }
    }
}
