//! Datasets, key-value stores, request queues.

use apify_client::models::{Dataset, KeyValueStore, RequestQueue, RequestQueueRequest};
use apify_client::{
    BatchAddRequestsOptions, DatasetDownloadOptions, DatasetListItemsOptions, DownloadItemsFormat, GetRecordOptions,
    ListKeysOptions, ListRequestsOptions, StorageListOptions,
};
use futures_util::TryStreamExt;
use serde_json::{Value, json};

use crate::{Error, Walk};

impl Walk {
    pub async fn datasets(&self) -> Result<(), Error> {
        let all = self.client.datasets();
        let made = all.get_or_create(Some("rust-items")).await?;
        let dataset = self.client.dataset(&made.id);
        let items = [json!({ "a": 1, "b": "x" }), json!({ "a": 2, "b": "y" }), json!({ "a": 3 })];
        dataset.push_items(&items).await?;

        assert_eq!(dataset.get().await?.and_then(|seen| seen.item_count), Some(3));
        let second = DatasetListItemsOptions {
            offset: Some(1),
            limit: Some(1),
            fields: Some(vec!["a".to_owned()]),
            ..Default::default()
        };
        let page = dataset.list_items::<Value>(second.clone()).await?;
        assert_eq!((page.items, page.total, page.offset), (vec![json!({ "a": 2 })], 3, 1));
        let iterated = dataset.iterate_items::<Value>(Default::default()).with_chunk_size(2).collect_all().await?;
        assert_eq!(iterated, items);
        let table = "\u{feff}\"a\",\"b\"\n1,\"x\"\n2,\"y\"\n3,\n";
        let csv = dataset.download_items(DownloadItemsFormat::Csv, Default::default()).await?;
        assert_eq!(String::from_utf8(csv)?, table);
        let one = DatasetDownloadOptions { items: second, ..Default::default() };
        let lines = dataset.download_items_stream(DownloadItemsFormat::Jsonl, one).await?;
        assert_eq!(joined(lines).await?, b"{\"a\":2}\n");
        assert_eq!(dataset.get_statistics().await?, json!({ "fieldStatistics": null }), "it has no schema");

        let public = dataset.create_items_public_url(Default::default(), Some(60)).await?;
        assert_eq!(serde_json::from_str::<Value>(&fetch(&public).await?)?, json!(items));
        let format = Some(DownloadItemsFormat::Csv);
        let public = dataset.create_items_public_url_with_format(Default::default(), None, format).await?;
        assert_eq!(fetch(&public).await?, table);

        assert_eq!(dataset.update(&json!({ "name": "rust-items-2" })).await?.name.as_deref(), Some("rust-items-2"));
        let is_it = |seen: &Dataset| seen.id == made.id && seen.name.as_deref() == Some("rust-items-2");
        assert!(all.list(StorageListOptions::default()).await?.items.iter().any(is_it));
        assert!(all.iterate(Default::default()).with_chunk_size(1).collect_all().await?.iter().any(is_it));
        dataset.delete().await?;
        assert!(dataset.get().await?.is_none());
        Ok(())
    }

    pub async fn key_value_stores(&self) -> Result<(), Error> {
        let all = self.client.key_value_stores();
        let made = all.get_or_create(Some("rust-records")).await?;
        let store = self.client.key_value_store(&made.id);
        store.set_record_json("a", &json!({ "deep": [1] })).await?;
        store.set_record_json_with_options("b", &json!("more"), Default::default()).await?;
        store.set_record_raw("c", b"words".to_vec(), "text/plain").await?;
        store.set_record_raw_with_options("d", b"more words".to_vec(), "text/plain", Default::default()).await?;
        // gzip of "packed", as any tool makes it.
        let packed = [31, 139, 8, 0, 0, 0, 0, 0, 2, 255, 43, 72, 76, 206, 78, 77, 1, 0, 16, 180, 246, 33, 6, 0, 0, 0];
        store.set_record_raw_with_content_encoding("e", packed.to_vec(), "text/plain", "gzip").await?;

        let json = store.get_record("a").await?.ok_or("a record")?;
        assert_eq!(json.json::<Value>()?, json!({ "deep": [1] }));
        assert_eq!(store.get_record("b").await?.ok_or("a record")?.json::<Value>()?, json!("more"));
        let options = GetRecordOptions { attachment: Some(false), ..Default::default() };
        let text = store.get_record_with_options("c", options).await?.ok_or("a record")?;
        assert_eq!((text.as_text()?.as_str(), text.content_type.as_deref()), ("words", Some("text/plain")));
        assert_eq!(store.get_record("d").await?.ok_or("a record")?.as_text()?, "more words");
        assert_eq!(store.get_record("e").await?.ok_or("a record")?.as_text()?, "packed");
        assert!(store.get_record("z").await?.is_none());
        assert_eq!((store.record_exists("c").await?, store.record_exists("z").await?), (true, false));

        let options =
            ListKeysOptions { limit: Some(1), exclusive_start_key: Some("b".to_owned()), ..Default::default() };
        let page = store.list_keys(options).await?;
        let seen: Vec<_> = page.items.iter().map(|item| (item.key.as_str(), item.size)).collect();
        assert_eq!(
            (seen, page.is_truncated, page.next_exclusive_start_key.as_deref()),
            (vec![("c", Some(5))], true, Some("c"))
        );
        let mut keys = Vec::new();
        let mut pages = store.iterate_keys(Default::default());
        while let Some(item) = pages.next().await? {
            keys.push(item.key);
        }
        assert_eq!(keys, ["a", "b", "c", "d", "e"]);
        assert_eq!(fetch(&store.get_record_public_url("c").await?).await?, "words");
        let listed = fetch(&store.create_keys_public_url(None).await?).await?;
        assert_eq!(serde_json::from_str::<Value>(&listed)?["data"]["items"][4]["key"], "e");

        store.delete_record("c").await?;
        assert!(!store.record_exists("c").await?);
        assert_eq!(store.update(&json!({ "name": "rust-records-2" })).await?.name.as_deref(), Some("rust-records-2"));
        assert_eq!(store.get().await?.and_then(|seen| seen.name).as_deref(), Some("rust-records-2"));
        let is_it = |seen: &KeyValueStore| seen.id == made.id;
        assert!(all.list(StorageListOptions::default()).await?.items.iter().any(is_it));
        assert!(all.iterate(Default::default()).with_chunk_size(1).collect_all().await?.iter().any(is_it));
        store.delete().await?;
        assert!(store.get().await?.is_none());
        Ok(())
    }

    pub async fn request_queues(&self) -> Result<(), Error> {
        let all = self.client.request_queues();
        let made = all.get_or_create(Some("rust-requests")).await?;
        let queue = self.client.request_queue(&made.id).with_client_key("rust-walk").with_timeout_cap(crate::PATIENCE);
        let added = queue.add_request(&request("a"), false).await?;
        assert_eq!((added.was_already_present, added.was_already_handled), (false, false));
        let batch = ["a", "b", "c"].map(request);
        let done = queue.batch_add_requests(&batch, BatchAddRequestsOptions::default()).await?;
        let mut present: Vec<_> =
            done.processed_requests.iter().map(|one| (one.unique_key.as_deref(), one.was_already_present)).collect();
        present.sort_unstable();
        assert_eq!(present, [(Some("a"), Some(true)), (Some("b"), Some(false)), (Some("c"), Some(false))]);

        assert_eq!(keys(&queue.list_head(Some(2)).await?.items), ["a", "b"]);
        let locked = queue.list_and_lock_head(60, Some(2)).await?;
        assert_eq!((keys(&locked.items), locked.client_key.as_deref()), (vec!["a", "b"], Some("rust-walk")));
        let id = |at: usize| locked.items[at].id.clone().unwrap_or_default();
        let before = queue.prolong_request_lock(&id(0), 60, false).await?.lock_expires_at;
        assert!(queue.prolong_request_lock(&id(0), 600, false).await?.lock_expires_at > before);
        queue.delete_request_lock(&id(0), false).await?;
        assert_eq!(keys(&queue.list_head(None).await?.items), ["c", "a"], "it goes behind the others");
        assert_eq!(queue.unlock_requests().await?.unlocked_count, 1);

        let mut handled = request("b");
        handled.id = Some(id(1));
        handled.extra.insert("handledAt".to_owned(), json!("2026-01-02T03:04:05.000Z"));
        assert_eq!(queue.update_request(&handled, false).await?.request_id, id(1));
        let seen = queue.get_request(&id(1)).await?.ok_or("a request")?;
        assert_eq!(seen.extra["handledAt"], "2026-01-02T03:04:05.000Z");
        let options = ListRequestsOptions { limit: Some(10), ..Default::default() };
        assert_eq!(sorted(&queue.list_requests(options).await?.items), ["a", "b", "c"]);
        let mut listed = Vec::new();
        let mut pages = queue.paginate_requests(Some(2));
        while let Some(item) = pages.next().await? {
            listed.push(item);
        }
        assert_eq!(sorted(&listed), ["a", "b", "c"]);
        queue.delete_request(&id(0)).await?;
        assert!(queue.get_request(&id(0)).await?.is_none());
        let deleted = queue.batch_delete_requests(&[json!({ "uniqueKey": "c" })]).await?;
        assert_eq!(deleted.processed_requests[0].unique_key.as_deref(), Some("c"));
        let seen = queue.get().await?.ok_or("a queue")?;
        assert_eq!((seen.total_request_count, &seen.extra["handledRequestCount"]), (Some(1), &json!(1)));

        assert_eq!(queue.update(&json!({ "name": "rust-requests-2" })).await?.name.as_deref(), Some("rust-requests-2"));
        let is_it = |seen: &RequestQueue| seen.id == made.id;
        assert!(all.list(StorageListOptions::default()).await?.items.iter().any(is_it));
        assert!(all.iterate(Default::default()).with_chunk_size(1).collect_all().await?.iter().any(is_it));
        queue.delete().await?;
        assert!(queue.get().await?.is_none());
        Ok(())
    }
}

fn request(key: &str) -> RequestQueueRequest {
    serde_json::from_value(json!({ "url": format!("http://example.com/{key}"), "uniqueKey": key })).expect("a request")
}

fn keys(requests: &[RequestQueueRequest]) -> Vec<&str> {
    requests.iter().filter_map(|request| request.unique_key.as_deref()).collect()
}

fn sorted(requests: &[RequestQueueRequest]) -> Vec<&str> {
    let mut keys = keys(requests);
    keys.sort_unstable();
    keys
}

/// What an address answers without a token.
async fn fetch(url: &str) -> Result<String, Error> {
    Ok(reqwest::get(url).await?.error_for_status()?.text().await?)
}

/// All of a stream.
pub async fn joined<E: std::error::Error + 'static>(
    stream: impl futures_util::Stream<Item = Result<Vec<u8>, E>>,
) -> Result<Vec<u8>, Error> {
    Ok(stream
        .try_fold(Vec::new(), |mut all, piece| async move {
            all.extend(piece);
            Ok(all)
        })
        .await?)
}
