//! Datasets as files: tables, markup and feeds (storages, section 6).

mod model;

use std::io::Write as _;
use std::process::{Command, Stdio};

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};

use self::model::{Asked, Item};
use crate::harness::TestServer;

/// The example of the contract (`X2`).
const EXAMPLE: &str =
    r#"[{"name":"A, \"x\"","n":1,"ok":true,"nul":null,"tags":["p","q"],"geo":{"lat":1.5}},{"name":"B","extra":"é"}]"#;

/// The bodies that a dataset with these items has for these queries.
async fn assert_written(items: &str, expected: &[(&str, &str)]) {
    let server = TestServer::start().await;
    let id = server.given("datasets").await;
    let path = format!("/v2/datasets/{id}/items");
    server.post(&path).body(items.to_owned()).await.expect(201);
    for (query, body) in expected {
        let reply = server.get(&format!("{path}?{query}")).await.expect(200);
        assert_eq!(reply.text(), body.replace("<ID>", &id), "{query}");
    }
}

#[tokio::test]
async fn csv_is_written_to_the_letter() {
    let example = "\"extra\",\"geo/lat\",\"n\",\"name\",\"nul\",\"ok\",\"tags/0\",\"tags/1\"\n\
                   ,1.5,1,\"A, \"\"x\"\"\",,true,\"p\",\"q\"\n\"é\",,,\"B\",,,,\n";
    let rows = &example[example.find('\n').unwrap() + 1..];

    assert_written(
        EXAMPLE,
        &[
            ("format=csv", &format!("\u{feff}{example}")),
            ("format=csv&bom=false&skipHeaderRow=1", rows),
            (
                "format=csv&fields=name,tags&delimiter=%3B&bom=0",
                "\"name\";\"tags/0\";\"tags/1\"\n\"A, \"\"x\"\"\";\"p\";\"q\"\n\"B\";;\n",
            ),
            ("format=csv&fields=none,n&delimiter=%09&bom=0", "\"none\"\t\"n\"\n\t1\n\t\n"),
            ("format=csv&fields=n,name&outputFields=name,n&omit=n&bom=0", "\"name\"\n1\n\n"),
            ("format=csv&offset=100000000", "\u{feff}"),
            ("format=csv&offset=100000000&fields=n&bom=0", "\"n\"\n"),
        ],
    )
    .await;
    let odd = r##"[{"f":"=1+1","@":-1.50e+3,"z":{},"l":"a\r\nb","u":"\u00e9\t\/","":0},{"#h":true,"big":12345678901234567890},{}]"##;
    assert_written(
        odd,
        &[
            (
                "format=csv&bom=0",
                "\"\",\"#h\",\"@\",\"big\",\"f\",\"l\",\"u\",\"z\"\n0,,-1.50e+3,,\"=1+1\",\"a\r\nb\",\"é\t/\",\n\
                 ,true,,12345678901234567890,,,,\n,,,,,,,\n",
            ),
            ("format=csv&bom=0&clean=1&fields=%23h,big", "\"#h\",\"big\"\n,12345678901234567890\n"),
            ("format=csv&bom=0&clean=1&offset=1", "\"big\"\n12345678901234567890\n"),
        ],
    )
    .await;
}

#[tokio::test]
async fn an_export_resumes_where_it_broke_off_though_items_came_meanwhile() {
    let server = TestServer::start().await;
    let ask = |path: &str, headers: &[(&'static str, &str)]| {
        headers.iter().fold(server.get(path), |ask, (name, value)| ask.header(name, value))
    };
    for format in ["json", "jsonl", "csv", "html", "xlsx", "xml", "rss", "parquet", "arrow"] {
        for window in ["", "&desc=1&offset=3", "&offset=5&limit=200&clean=1", "&desc=1&limit=4&fields=n,text"] {
            let items: Vec<_> = (0..40).map(|n| json!({"n": n, "text": "word ".repeat(n % 7), "#h": [n]})).collect();
            let id = server.given_items(json!(items)).await;
            let path = format!("/v2/datasets/{id}/items?format={format}{window}");
            let what = format!("{format}{window}");

            let whole = ask(&path, &[]).await.expect(200);
            let etag = whole.header("etag").to_owned();
            assert_eq!(whole.header("accept-ranges"), "bytes");
            let unchanged = ask(&path, &[("if-none-match", &etag)]).await.expect(304);
            assert_eq!((unchanged.header("etag"), unchanged.body.len()), (&etag[..], 0), "{what}");
            assert_eq!(server.head(&path).await.expect(200).header("etag"), etag, "{what}");

            let newer = json!([{"n": "now text", "#h": 1, "more": {"columns": true}}]);
            server.post(&format!("/v2/datasets/{id}/items")).json(newer).await.expect(201);
            let size = whole.body.len();
            for at in [0, 1, size / 3, size - 1] {
                let range = format!("bytes={at}-");
                let rest = ask(&path, &[("range", &range), ("if-range", &etag)]).await.expect(206);
                assert_eq!(rest.header("content-range"), format!("bytes {at}-{}/{size}", size - 1), "{what}");
                assert_eq!((rest.header("etag"), &rest.body), (&etag[..], &whole.body.slice(at..)), "{what} {range}");
            }
            let middle = ask(&path, &[("range", "bytes=2-9"), ("if-range", &etag)]).await.expect(206);
            assert_eq!(middle.body, whole.body.slice(2..10), "{what}");
            let behind = ask(&path, &[("range", &format!("bytes={size}-")), ("if-range", &etag)]).await;
            assert_eq!(behind.header("content-range"), format!("bytes */{size}"), "{what}");
            behind.expect_error(416, "range-not-satisfiable");

            // Whoever names no tag means what there is now.
            let last = ask(&path, &[("range", "bytes=-5")]).await.expect(206);
            let now = ask(&path, &[]).await.expect(200);
            assert_eq!(last.body, now.body.slice(now.body.len() - 5..), "{what}");
            assert_eq!(last.header("etag"), now.header("etag"), "{what}");
            assert_eq!(now.header("etag") == etag, now.body == whole.body, "{what}");
            let other = ask(&format!("{path}&omit=n"), &[("range", "bytes=1-"), ("if-range", &etag)]).await.expect(200);
            assert_ne!(other.header("etag"), etag, "{what}");
        }
    }
}

#[tokio::test]
async fn an_export_from_behind_the_end_resumes_as_empty_as_it_was() {
    let server = TestServer::start().await;
    let items = |n: u64| json!((0..n).map(|n| json!({"n": n})).collect::<Vec<_>>());
    let id = server.given_items(items(3)).await;
    let path = format!("/v2/datasets/{id}/items?offset=5");
    let empty = server.get(&path).await.expect(200);
    assert_eq!(empty.text(), "[]");

    server.post(&format!("/v2/datasets/{id}/items")).json(items(4)).await.expect(201);

    let etag = empty.header("etag");
    let rest = server.get(&path).header("range", "bytes=1-").header("if-range", etag).await.expect(206);
    assert_eq!((&rest.text()[..], rest.header("etag")), ("]", etag));
    assert_eq!(rest.header("vary"), "Accept-Encoding");
    assert_eq!(server.get(&path).await.expect(200).text(), r#"[{"n":2},{"n":3}]"#);
}

#[tokio::test]
async fn a_part_that_is_not_there_costs_no_reads() {
    let server = TestServer::start().await;
    let id = server.given_items(json!([{"n": 1}])).await;

    server.get(&format!("/v2/datasets/{id}/items")).header("range", "bytes=999-").await.expect(416);

    let dataset = server.get(&format!("/v2/datasets/{id}")).await.expect(200).data();
    assert_eq!(dataset["stats"]["readCount"], 0, "{dataset}");
}

#[tokio::test]
async fn a_compressed_export_has_a_weak_tag_and_no_parts() {
    let server = TestServer::start().await;
    let items: Vec<_> = (0..400).map(|n| json!({"n": n, "text": "word word"})).collect();
    let path = format!("/v2/datasets/{}/items?format=jsonl", server.given_items(json!(items)).await);
    let plain = server.get(&path).await.expect(200).header("etag").to_owned();

    let packed = server.get(&path).header("accept-encoding", "gzip").await.expect(200);
    assert_eq!((packed.header("content-encoding"), packed.header("etag")), ("gzip", &format!("W/{plain}")[..]));
    server
        .get(&path)
        .header("accept-encoding", "gzip")
        .header("if-none-match", packed.header("etag"))
        .await
        .expect(304);
    let part = server.get(&path).header("accept-encoding", "gzip").header("range", "bytes=0-5").await.expect(206);
    assert_eq!(part.text(), "{\"n\":0");
}

#[tokio::test]
async fn json_lines_come_in_zstd_as_they_are_stored() {
    let server = TestServer::start().await;
    let items: Vec<_> = (0..2000).map(|n| json!({"n": n, "text": "word word"})).collect();
    let path = format!("/v2/datasets/{}/items", server.given_items(json!(items)).await);
    let in_zstd =
        async |query: &str| server.get(&format!("{path}?{query}")).header("accept-encoding", "gzip, zstd").await;

    for query in ["format=jsonl", "format=jsonl&offset=3&limit=1000"] {
        let plain = server.get(&format!("{path}?{query}")).await.expect(200);
        let packed = in_zstd(query).await.expect(200);
        assert_eq!(zstd::decode_all(&packed.body[..]).unwrap(), plain.body, "{query}");
        let headers = ["content-encoding", "vary", "accept-ranges", "etag"].map(|name| packed.header(name));
        assert_eq!(headers, ["zstd", "Accept-Encoding", "", &format!("W/{}", plain.header("etag"))]);
        for name in ["content-type", "x-apify-pagination-count", "x-apify-pagination-total"] {
            assert_eq!(packed.header(name), plain.header(name), "{query}");
        }
    }
    // What is not kept as it is sent is not packed in this way.
    for query in
        ["format=jsonl&limit=2", "format=jsonl&bom=1", "format=jsonl&fields=n", "format=json", "format=jsonl&desc=1"]
    {
        let answer = in_zstd(query).await.expect(200);
        assert_eq!(answer.header("content-encoding"), if query.contains("limit") { "" } else { "gzip" }, "{query}");
    }
    let part =
        server.get(&format!("{path}?format=jsonl")).header("accept-encoding", "zstd").header("range", "bytes=0-5");
    assert_eq!(part.await.expect(206).text(), "{\"n\":0");
}

#[tokio::test]
async fn a_repeated_key_counts_once_and_the_last_one_wins() {
    let items = r#"[{"a":{"x":1},"b":2,"a":{"y":3}},{"\u0061":5,"a":[6]}]"#;

    assert_written(items, &[("format=csv&bom=0&fields=a,b", "\"a/0\",\"a/y\",\"b\"\n,3,2\n6,,\n")]).await;
}

#[tokio::test]
async fn html_is_a_bare_table() {
    assert_written(
        r#"[{"foo":"bar","a<":"&\"<>'"},{"foo":[1,false]}]"#,
        &[
            (
                "format=html",
                "<table><tr><th>a&lt;</th><th>foo</th><th>foo/0</th><th>foo/1</th></tr>\
                 <tr><td>&amp;&quot;&lt;&gt;'</td><td>bar</td><td></td><td></td></tr>\
                 <tr><td></td><td></td><td>1</td><td>false</td></tr></table>",
            ),
            ("format=html&offset=2", "<table></table>"),
            ("format=html&offset=2&bom=1", "\u{feff}<table></table>"),
        ],
    )
    .await;
}

#[tokio::test]
async fn xml_nests_as_items_do() {
    let items = r#"{"name":"Jane Doe","address":[{"type":"home","street":"21st"},{"type":"office","street":null}]}"#;
    let inner = "    <name>Jane Doe</name>\n    <address>\n      <type>home</type>\n      <street>21st</street>\n    \
                 </address>\n    <address>\n      <type>office</type>\n      <street/>\n    </address>\n";
    let declaration = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n";

    assert_written(
        items,
        &[
            ("format=xml", &format!("{declaration}<items>\n  <item>\n{inner}  </item>\n</items>")),
            ("format=xml&xmlRoot=a%20b&xmlRow=1", &format!("{declaration}<a_b>\n  <_1>\n{inner}  </_1>\n</a_b>")),
            ("format=xml&offset=1", &format!("{declaration}<items>\n</items>")),
            ("format=xml&offset=1&bom=1", &format!("\u{feff}{declaration}<items>\n</items>")),
        ],
    )
    .await;
}

#[tokio::test]
async fn rss_is_a_feed_of_the_items() {
    let items = r##"[{"title":"A & B","guid":{"@":{"isPermaLink":false},"#":"1"}},{}]"##;
    let feed = |title: &str, description: &str| {
        format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<rss version=\"2.0\">\n  <channel>\n    <title>{title}</title>\n    \
             <description>{description}</description>\n    <link>http://localhost:3333/v2/datasets/<ID>/items</link>\n    \
             <item>\n      <title>A &amp; B</title>\n      <guid isPermaLink=\"false\">1</guid>\n    </item>\n    \
             <item/>\n  </channel>\n</rss>"
        )
    };

    assert_written(
        items,
        &[
            ("format=rss&xmlRow=x&xmlRoot=y", &feed("Dataset <ID>", "Items in dataset with id &quot;<ID>&quot;.")),
            ("format=rss&feedTitle=a%3Cb&feedDescription=c", &feed("a&lt;b", "c")),
        ],
    )
    .await;
}

#[tokio::test]
async fn parameters_count_only_for_their_format() {
    let server = TestServer::start().await;
    let id = server.given_items(json!([{"a": 1}])).await;
    let path = format!("/v2/datasets/{id}/items");

    for delimiter in ["", "%3B%3B", "%22", "%0A"] {
        let query = format!("{path}?delimiter={delimiter}&format=");
        server.get(&format!("{query}csv")).await.expect_error(400, "invalid-input");
        server.get(&format!("{query}json")).await.expect(200);
    }
    for (format, content_type) in [
        ("csv", "text/csv; charset=utf-8"),
        ("html", "text/html; charset=utf-8"),
        ("xml", "application/xml; charset=utf-8"),
        ("rss", "application/rss+xml; charset=utf-8"),
    ] {
        for method in ["GET", "HEAD"] {
            let reply =
                server.ask(method.parse().unwrap(), &format!("{path}?format={format}&attachment=1")).await.expect(200);
            assert_eq!(reply.header("content-type"), content_type);
            assert_eq!(reply.header("x-apify-pagination-count"), "1");
            assert!(reply.header("content-disposition").ends_with(&format!(".{format}\"")));
            assert_eq!(reply.body.is_empty(), method == "HEAD");
        }
    }
}

#[tokio::test]
async fn accept_chooses_the_format_unless_the_query_does() {
    let server = TestServer::start().await;
    let id = server.given_items(json!([{"a": 1}])).await;
    let path = format!("/v2/datasets/{id}/items");

    let csv = server.get(&path).header("accept", "text/csv, */*;q=0.1").await.expect(200);
    assert_eq!(csv.text(), "\u{feff}\"a\"\n1\n");
    assert!(csv.headers.get_all("vary").iter().any(|vary| vary == "Accept"), "{:?}", csv.headers);
    let asked = server.get(&format!("{path}?format=jsonl")).header("accept", "text/csv").await.expect(200);
    assert_eq!(asked.text(), "{\"a\":1}\n");
    assert!(asked.headers.get_all("vary").iter().all(|vary| vary != "Accept"));
    let browser = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";
    assert_eq!(server.get(&path).header("accept", browser).await.expect(200).text(), "[{\"a\":1}]");
}

#[tokio::test]
async fn labels_of_a_view_are_titles_of_columns() {
    let server = TestServer::start().await;
    let schema = json!({"actorSpecification": 1, "views": {"v": {
        "title": "V",
        "transformation": {"fields": ["b", "a"], "unwind": ["list"]},
        "display": {"component": "table", "properties": {"a": {"label": "The \"A\"", "format": "text"}}},
    }}});
    let made = server.post("/v2/datasets").json(json!({"schema": schema})).await.expect(201).data();
    let path = format!("/v2/datasets/{}/items", made["id"].as_str().unwrap());
    server.post(&path).json(json!([{"list": [{"a": 1}, {"a": {"c": "x"}}], "b": 2}])).await.expect(201);

    let csv = server.get(&format!("{path}?format=csv&view=v&bom=0")).await.expect(200);

    assert_eq!(csv.text(), "\"b\",\"The \"\"A\"\"\",\"a/c\"\n2,1,\n2,,\"x\"\n");
}

#[tokio::test]
async fn there_are_at_most_2000_columns_the_first_ones() {
    let wide = |from: usize| (from..from + 1500).map(|n| (format!("k{n:04}"), json!(n))).collect::<Item>();
    let long = json!({"a": {"é".repeat(150): {"é".repeat(150): 1}}}).as_object().unwrap().clone();
    let items = [wide(1000), wide(0), wide(500), long];
    let server = TestServer::start().await;
    let id = server.given_items(json!(items)).await;

    let asked = Asked::default();
    let csv = server.get(&format!("/v2/datasets/{id}/items?format=csv")).await.expect(200).text();

    assert_eq!(csv.lines().next().unwrap().split(',').count(), 2000);
    assert!(csv == asked.csv(&items), "it differs");
    let asked = Asked { omit: vec!["k0000".to_owned()], ..asked };
    let csv = server.get(&format!("/v2/datasets/{id}/items?format=csv&{}", asked.query())).await.expect(200).text();
    assert!(csv == asked.csv(&items), "it differs");
}

#[tokio::test]
async fn columns_are_those_of_the_window_wherever_its_items_are_kept() {
    let server = TestServer::start().await;
    let id = server.given("datasets").await;
    let path = format!("/v2/datasets/{id}/items");
    let mut items = Vec::new();
    for push in 0..4 {
        let pad = "x".repeat(3000);
        let pushed: Vec<Item> = (0..1500)
            .map(|n| {
                let mut item = json!({"pad": pad, "n": n, "of": {"push": {format!("{push}"): [n % 3, {}]}}});
                if n % 700 == 0 {
                    item[format!("#{push}/{n}")] = json!("rare \"one\"");
                }
                item.as_object().unwrap().clone()
            })
            .collect();
        server.post(&path).json(json!(pushed)).await.expect(201);
        items.extend(pushed);
        if push == 2 {
            // What has come so far is sealed, as far as it fills segments.
            server.engine.engine.store().upkeep.run().await.unwrap();
        }
    }
    server.post(&path).body(r#"{"last":true}"#).await.expect(201);
    items.push(json!({"last": true}).as_object().unwrap().clone());

    let plain = Asked::default();
    let fields = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    for asked in [
        plain.clone(),
        Asked { desc: true, limit: Some(4500), ..plain.clone() },
        Asked { offset: 1, limit: Some(4498), ..plain.clone() },
        Asked { offset: 1501, limit: Some(600), clean: true, ..plain.clone() },
        Asked { offset: 1400, clean: true, ..plain.clone() },
        Asked { fields: fields(&["n", "none", "last"]), renamed: true, ..plain.clone() },
        Asked { fields: fields(&["of", "n"]), offset: 3, ..plain.clone() },
        Asked { omit: fields(&["pad"]), skip_hidden: true, ..plain.clone() },
        Asked { flatten: fields(&["of"]), desc: true, offset: 5990, ..plain.clone() },
        Asked { offset: 6000, ..plain },
    ] {
        let csv = server.get(&format!("{path}?format=csv&{}", asked.query())).await.expect(200);
        assert_eq!(csv.broken, None);
        assert!(
            csv.text() == asked.csv(&items),
            "{asked:?} differs: {}",
            csv.text().lines().next().unwrap_or_default()
        );
    }
}

/// Reads CSV, XML and RSS from its input, which is JSON, and prints what it read.
const READER: &str = r#"
import csv, io, json, sys
from xml.etree import ElementTree
given = json.load(sys.stdin)
def tree(element):
    return [element.tag, dict(element.attrib), (element.text or "").strip(" \n"), [tree(child) for child in element]]
markup = [tree(ElementTree.fromstring(given[name].encode())) for name in ("xml", "rss")]
print(json.dumps([list(csv.reader(io.StringIO(given["csv"], newline=""))), *markup]))
"#;

/// Runs the reader, or tells aloud that there is none.
fn read_by_python(given: &Value) -> Option<Value> {
    let python = Command::new("python3").args(["-c", READER]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    let Ok(mut python) = python else {
        eprintln!("skipped: there is no python3");
        return None;
    };
    let mut input = python.stdin.take().expect("a pipe");
    input.write_all(given.to_string().as_bytes()).expect("a reader");
    drop(input);
    let output = python.wait_with_output().expect("an end");
    assert!(output.status.success());
    Some(serde_json::from_slice(&output.stdout).expect("JSON"))
}

#[tokio::test]
async fn independent_readers_read_what_was_written() {
    let server = TestServer::start().await;
    let items = json!([
        {"title": "a \"b\", <c>\r\nd\u{7}\u{ffff}\u{1f600}", "1 x": [[true], {"@": {"k\t": "v\n\"<"}, "#": "&amp;"}], "n": null},
        {"title": "=1+1", "": {"é": -1.5, "#x": ""}},
    ]);
    let id = server.given_items(items).await;
    let ask = async |format: &str| {
        server.get(&format!("/v2/datasets/{id}/items?bom=0&format={format}&feedTitle=%3C%26")).await.expect(200).text()
    };
    let given = json!({"csv": ask("csv").await, "xml": ask("xml").await, "rss": ask("rss").await});

    let Some(read) = read_by_python(&given) else { return };

    assert_eq!(
        read[0],
        json!([
            ["/#x", "/é", "1 x/0/0", "1 x/1/#", "1 x/1/@/k\t", "n", "title"],
            ["", "", "true", "&amp;", "v\n\"<", "", "a \"b\", <c>\r\nd\u{7}\u{ffff}\u{1f600}"],
            ["", "-1.5", "", "", "", "", "=1+1"],
        ])
    );
    let rows = json!([
        ["item", {}, "", [
            ["title", {}, "a \"b\", <c>\r\nd\u{1f600}", []],
            ["_1_x", {}, "true", []],
            ["_1_x", {"k_": "v\n\"<"}, "&amp;", []],
            ["n", {}, "", []],
        ]],
        ["item", {}, "", [["title", {}, "=1+1", []], ["_", {}, "", [["é", {}, "-1.5", []], ["_x", {}, "", []]]]]],
    ]);
    assert_eq!(read[1], json!(["items", {}, "", rows]));
    let channel = read[2][3][0][3].as_array().unwrap();
    assert_eq!(channel[0], json!(["title", {}, "<&", []]));
    assert_eq!(json!(channel[3..]), rows);
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-3..3_i64).prop_map(Value::from),
        select(vec![0.5, -1e30]).prop_map(Value::from),
        select(vec!["", "x", "q\"r", "a\nb", "é;,<&>", "=1+1", "\\", "\u{1}\u{1f600}"]).prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..3).prop_map(Value::from),
            vec((key(), inner), 0..3).prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

fn key() -> impl Strategy<Value = String> {
    select(vec!["a", "b", "c", "#h", "a/b", "A", "", "é\"", "url", "pageFunctionResult", "errorInfo", "a.b", "0"])
        .prop_map(str::to_owned)
}

fn names() -> impl Strategy<Value = Vec<String>> {
    let names = ["a", "b", "c", "#h", "a/b", "a.b", "A", "a.c", "0"].map(str::to_owned).to_vec();
    prop_oneof![2 => Just(Vec::new()), 1 => subsequence(names, 1..4).prop_shuffle()]
}

fn asked() -> impl Strategy<Value = Asked> {
    let window = (any::<bool>(), 0..4_usize, proptest::option::of(0..8_usize));
    let flag = || proptest::bool::weighted(0.2);
    let flags = (flag(), flag(), flag(), flag(), flag(), flag());
    let lists = (names(), names(), names(), any::<bool>(), names());
    let csv = (proptest::option::of(any::<bool>()), proptest::option::of(select(vec![';', '\t', 'é', '+'])));
    (window, flags, lists, csv).prop_map(|(window, flags, lists, csv)| {
        let (desc, offset, limit) = window;
        let (skip_failed_pages, simplified, skip_hidden, skip_empty, clean, skip_header_row) = flags;
        let (unwind, flatten, fields, renamed, omit) = lists;
        let (bom, delimiter) = csv;
        let renamed = renamed && !fields.is_empty();
        Asked {
            desc,
            offset,
            limit,
            skip_failed_pages,
            simplified,
            skip_hidden,
            skip_empty,
            clean,
            unwind,
            flatten,
            fields,
            renamed,
            omit,
            skip_header_row,
            bom,
            delimiter,
        }
    })
}

#[test]
fn any_items_read_in_any_way_are_what_the_contract_says() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let server = runtime.block_on(TestServer::start());
    let item = vec((key(), value()), 0..5).prop_map(|members| members.into_iter().collect::<Item>());
    let mut runner = TestRunner::new(Config { cases: 100, failure_persistence: None, ..Config::default() });
    let outcome = runner.run(&(vec(item, 0..8), vec(asked(), 4)), |(items, asked)| {
        runtime.block_on(async {
            let id = server.given("datasets").await;
            let path = format!("/v2/datasets/{id}/items");
            for push in items.chunks(3) {
                server.post(&path).json(json!(push)).await.expect(201);
            }
            for asked in asked {
                let query = asked.query();
                for (format, expected) in [
                    ("json", asked.json(&items)),
                    ("jsonl", asked.jsonl(&items)),
                    ("csv", asked.csv(&items)),
                    ("html", asked.html(&items)),
                ] {
                    let reply = server.get(&format!("{path}?format={format}&{query}")).await.expect(200);
                    prop_assert_eq!(reply.text(), expected, "{} {}", format, query);
                }
            }
            Ok(())
        })
    });
    if let Err(failure) = outcome {
        panic!("{failure}");
    }
}
