//! The sample Actor: a crawler that talks to the API as any Actor does, by what its environment tells.

use anyhow::{Context as _, bail};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::{Method, Request};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};

/// Largest page that is read.
const MAX_PAGE: usize = 1 << 20;

/// Crawls from the input's `startUrl` until the queue is empty.
pub fn run() -> anyhow::Result<()> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        let platform = Platform::from_environment()?;
        let input = platform.input().await?;
        let start = input["startUrl"].as_str().context("the input has no startUrl")?;
        println!("Starting at {start}");
        platform.add(&[start.to_owned()]).await?;
        let mut stored = 0;
        loop {
            let requests = platform.lock_head().await?;
            if requests.is_empty() {
                break;
            }
            for request in requests {
                let url = request["url"].as_str().unwrap_or_default().to_owned();
                let page = platform.get_text(&url).await?;
                println!("Visited {url}");
                platform.add(&links(&page, &url)).await?;
                if let Some(item) = book(&page, &url) {
                    platform.push(&item).await?;
                    stored += 1;
                }
                platform.mark_handled(&request).await?;
            }
        }
        platform.set_status(&format!("Stored {stored} books")).await?;
        println!("Done: {stored} books");
        Ok(())
    })
}

/// The API as one run sees it.
struct Platform {
    client: Client<HttpConnector, Full<Bytes>>,
    base: String,
    token: String,
}

impl Platform {
    fn from_environment() -> anyhow::Result<Self> {
        let base = variable("APIFY_API_BASE_URL")?.trim_end_matches('/').to_owned();
        let token = variable("APIFY_TOKEN")?;
        Ok(Self { client: Client::builder(TokioExecutor::new()).build_http(), base, token })
    }

    async fn input(&self) -> anyhow::Result<Value> {
        let store = variable("ACTOR_DEFAULT_KEY_VALUE_STORE_ID")?;
        let key = variable("ACTOR_INPUT_KEY")?;
        self.api(Method::GET, &format!("key-value-stores/{store}/records/{key}"), None).await
    }

    async fn add(&self, urls: &[String]) -> anyhow::Result<()> {
        let queue = variable("ACTOR_DEFAULT_REQUEST_QUEUE_ID")?;
        for batch in urls.chunks(model::MAX_BATCH) {
            let requests: Vec<Value> = batch.iter().map(|url| json!({ "url": url, "uniqueKey": url })).collect();
            self.api(Method::POST, &format!("request-queues/{queue}/requests/batch"), Some(Value::Array(requests)))
                .await?;
        }
        Ok(())
    }

    async fn lock_head(&self) -> anyhow::Result<Vec<Value>> {
        let queue = variable("ACTOR_DEFAULT_REQUEST_QUEUE_ID")?;
        let path = format!("request-queues/{queue}/head/lock?lockSecs=60&limit=5&clientKey=sample-crawler");
        let mut head = self.api(Method::POST, &path, None).await?;
        Ok(head["data"]["items"].as_array_mut().map(std::mem::take).unwrap_or_default())
    }

    async fn mark_handled(&self, request: &Value) -> anyhow::Result<()> {
        let queue = variable("ACTOR_DEFAULT_REQUEST_QUEUE_ID")?;
        let id = request["id"].as_str().unwrap_or_default();
        let mut handled = json!({ "id": id, "url": request["url"], "uniqueKey": request["uniqueKey"] });
        // Any time in the past will do: the queue only asks whether there is one.
        handled["handledAt"] = variable("ACTOR_STARTED_AT")?.into();
        self.api(Method::PUT, &format!("request-queues/{queue}/requests/{id}?clientKey=sample-crawler"), Some(handled))
            .await?;
        Ok(())
    }

    async fn push(&self, item: &Value) -> anyhow::Result<()> {
        let dataset = variable("ACTOR_DEFAULT_DATASET_ID")?;
        self.api(Method::POST, &format!("datasets/{dataset}/items"), Some(item.clone())).await?;
        Ok(())
    }

    async fn set_status(&self, message: &str) -> anyhow::Result<()> {
        let run = variable("ACTOR_RUN_ID")?;
        let body = json!({ "statusMessage": message, "isStatusMessageTerminal": true });
        self.api(Method::PUT, &format!("actor-runs/{run}"), Some(body)).await?;
        Ok(())
    }

    async fn api(&self, method: Method, path: &str, body: Option<Value>) -> anyhow::Result<Value> {
        let body = body.map(|body| Bytes::from(body.to_string())).unwrap_or_default();
        let request = Request::builder()
            .method(method)
            .uri(format!("{}/v2/{path}", self.base))
            .header("authorization", format!("Bearer {}", self.token))
            .header("content-type", "application/json")
            .body(Full::new(body))?;
        Ok(serde_json::from_slice(&self.send(request).await?)?)
    }

    async fn get_text(&self, url: &str) -> anyhow::Result<String> {
        let page = self.send(Request::get(url).body(Full::default())?).await?;
        Ok(String::from_utf8_lossy(&page).into_owned())
    }

    async fn send(&self, request: Request<Full<Bytes>>) -> anyhow::Result<Bytes> {
        let what = format!("{} {}", request.method(), request.uri().path());
        let response = self.client.request(request).await.with_context(|| what.clone())?;
        let status = response.status();
        let body = http_body_util::Limited::new(response.into_body(), MAX_PAGE).collect().await;
        let body = body.map_err(|error| anyhow::anyhow!("{what}: {error}"))?.to_bytes();
        if !status.is_success() {
            bail!("{what} answered {status}: {}", String::from_utf8_lossy(&body));
        }
        Ok(body)
    }
}

fn variable(name: &str) -> anyhow::Result<String> {
    std::env::var(name).with_context(|| format!("{name} is not set; this program is meant to run as an Actor"))
}

/// Absolute URLs of the links on a page of the sample site, whose links all begin at the root.
fn links(page: &str, url: &str) -> Vec<String> {
    let path_start = url.find("://").and_then(|scheme| url[scheme + 3..].find('/').map(|slash| scheme + 3 + slash));
    let origin = &url[..path_start.unwrap_or(url.len())];
    let targets = page.split("href=\"").skip(1).filter_map(|rest| rest.split('"').next());
    targets.filter(|target| target.starts_with('/')).map(|target| format!("{origin}{target}")).collect()
}

/// The book that a page is about, if it is about one.
fn book(page: &str, url: &str) -> Option<Value> {
    let title = between(page, "<h1>", "</h1>")?;
    let author = between(page, "class=\"author\">", "<")?;
    let price: f64 = between(page, "class=\"price\">", "<")?.parse().ok()?;
    Some(json!({ "url": url, "title": title, "author": author, "price": price }))
}

fn between<'a>(text: &'a str, before: &str, after: &str) -> Option<&'a str> {
    let rest = &text[text.find(before)? + before.len()..];
    Some(&rest[..rest.find(after)?])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_gives_its_links_and_its_book() {
        let page = "<h1>Segments</h1><p class=\"author\">O. L.</p><p class=\"price\">22.00</p><a href=\"/x/\">All</a>";

        assert_eq!(links(page, "http://host:1/x/book/3"), ["http://host:1/x/"]);
        let expected = json!({ "url": "u", "title": "Segments", "author": "O. L.", "price": 22.0 });
        assert_eq!(book(page, "u"), Some(expected));
        assert_eq!(book("<p>no book</p>", "u"), None);
    }
}
