//! The transformations against the contract's examples and against a plain model of it on parsed values.

use std::ops::ControlFlow;

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::*;

fn names(comma_joined: &str) -> Vec<String> {
    comma_joined.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

fn shown(view: &ItemView, item: &str) -> Vec<String> {
    let mut entries = Vec::new();
    let outcome = view.transform().unwrap().apply(item.as_bytes(), |entry| {
        entries.push(String::from_utf8(entry.to_vec()).unwrap());
        ControlFlow::Continue(())
    });
    assert_eq!(outcome, Ok(ControlFlow::Continue(())));
    entries
}

fn with(change: impl FnOnce(&mut ItemView)) -> ItemView {
    let mut view = ItemView::default();
    change(&mut view);
    view
}

fn unwind(fields: &str) -> ItemView {
    with(|view| view.unwind = names(fields))
}

fn flatten(fields: &str) -> ItemView {
    with(|view| view.flatten = names(fields))
}

fn pick(fields: &str, output_fields: &str) -> ItemView {
    with(|view| (view.fields, view.output_fields) = (names(fields), names(output_fields)))
}

#[test]
fn each_transformation_does_what_the_contract_says() {
    let skip_failed = with(|view| view.skip_failed_pages = true);
    let simplified = with(|view| view.simplified = true);
    let skip_hidden = with(|view| view.skip_hidden = true);
    let clean = with(|view| view.clean = true);
    let omit = |fields| with(|view| view.omit = names(fields));
    for (view, item, entries) in [
        (&skip_failed, r#"{"errorInfo":{}}"#, &[][..]),
        (&skip_failed, r#"{"errorInfo":"x","errorInfo":0}"#, &[r#"{"errorInfo":"x","errorInfo":0}"#]),
        (&skip_failed, r#"{"errorInfo":-0.0e5}"#, &[r#"{"errorInfo":-0.0e5}"#]),
        (
            &simplified,
            r#"{"a":1,"errorInfo":null,"url":"u","pageFunctionResult":[{"url":"v"},7]}"#,
            &[r#"{"url":"v","errorInfo":null}"#, r#"{"url":"u","pageFunctionResult":7,"errorInfo":null}"#],
        ),
        (&skip_hidden, r##"{"#a":1,"b":{"#c": 2}}"##, &[r##"{"b":{"#c": 2}}"##]),
        (&skip_hidden, r##"{"\u0023a":1}"##, &["{}"]),
        (&clean, r##"{"#a":1}"##, &[]),
        (&clean, r#"{ "a" : 1.50 }"#, &[r#"{ "a" : 1.50 }"#]),
        (&unwind("f"), r#"{"a":1,"f":[{"b":2},{"a":3}],"z":0}"#, &[r#"{"a":1,"z":0,"b":2}"#, r#"{"a":3,"z":0}"#]),
        (&unwind("foo"), r#"{"foo":{"bar":"hello"}}"#, &[r#"{"bar":"hello"}"#]),
        (&unwind("f"), r#"{"a":1,"f":[ 5 , [6]],"b":2}"#, &[r#"{"a":1,"f":5,"b":2}"#, r#"{"a":1,"f":[6],"b":2}"#]),
        (&unwind("f"), r#"{"a":1,"f":[ ]}"#, &[r#"{"a":1}"#]),
        (&unwind("f"), r#"{"a":1, "f":null}"#, &[r#"{"a":1, "f":null}"#]),
        (
            &unwind("f,g"),
            r#"{"f":[{"g":[{"x":1},{"x":2}]},{"g":{"y":3}},4]}"#,
            &[r#"{"x":1}"#, r#"{"x":2}"#, r#"{"y":3}"#, r#"{"f":4}"#],
        ),
        (&unwind("f"), r#"{"f":{"f":[1]}}"#, &[r#"{"f":[1]}"#]),
        (&flatten("math"), r#"{"math":{"factorial":{"first":1}}}"#, &[r#"{"math.factorial.first":1}"#]),
        (&flatten("m"), r#"{"a":0,"m":{"x":[{"y":1}],"e":{}},"z":9}"#, &[r#"{"a":0,"m.x":[{"y":1}],"m.e":{},"z":9}"#]),
        (&flatten("m,m.x"), r#"{"m":3,"m.x":{"a\"b":1e3}}"#, &[r#"{"m":3,"m.x.a\"b":1e3}"#]),
        (&flatten("m"), r#"{"m":{}}"#, &[r#"{"m":{}}"#]),
        (&pick("b,a,c", ""), r#"{"a":1,"b":12345678901234567890,"a":2}"#, &[r#"{"b":12345678901234567890,"a":2}"#]),
        (&pick("a,b,c", "x,y,x"), r#"{"a":1,"b":2,"c":3}"#, &[r#"{"x":3,"y":2}"#]),
        (&pick("a.b", ""), r#"{"a":{"b":1},"a.b":2}"#, &[r#"{"a.b":2}"#]),
        (&omit("a,c"), r#"{"a":1, "b":2,"c":3}"#, &[r#"{"b":2}"#]),
        (&omit("c"), r#"{"a":1, "b":2}"#, &[r#"{"a":1, "b":2}"#]),
    ] {
        assert_eq!(shown(view, item), entries, "{item} seen as {view:?}");
    }
}

#[test]
fn transformations_are_applied_in_the_order_of_the_contract() {
    let flattened_first = with(|view| (view.flatten, view.fields) = (names("metadata"), names("metadata.url")));
    assert_eq!(shown(&flattened_first, r#"{"metadata":{"url":"u","n":1}}"#), [r#"{"metadata.url":"u"}"#]);

    let unwound_first = with(|view| (view.unwind, view.fields) = (names("reviews"), names("name,text")));
    assert_eq!(
        shown(&unwound_first, r#"{"name":"N","reviews":[{"text":"t","stars":5}]}"#),
        [r#"{"name":"N","text":"t"}"#]
    );

    let omit_wins = with(|view| (view.fields, view.omit, view.clean) = (names("a,b"), names("a,b"), true));
    assert_eq!(shown(&omit_wins, r#"{"a":1,"b":2}"#), Vec::<String>::new());

    let hidden_before_unwind = with(|view| (view.unwind, view.clean) = (names("f"), true));
    assert_eq!(shown(&hidden_before_unwind, r##"{"#a":1,"f":{"#b":2}}"##), [r##"{"#b":2}"##]);
}

#[test]
fn a_view_of_the_schema_fills_what_was_not_asked_for() {
    let defaults = ItemView { desc: Some(true), limit: Some(5), ..pick("a,b", "") };
    let asked = ItemView { limit: Some(7), omit: names("x"), ..ItemView::default() };

    let merged = asked.or(&defaults);

    assert_eq!(merged, ItemView { desc: Some(true), limit: Some(7), omit: names("x"), ..pick("a,b", "") });
    assert!(!merged.is_identity());
    assert!(ItemView { desc: Some(true), offset: Some(3), limit: Some(1), ..ItemView::default() }.is_identity());
}

#[test]
fn new_names_must_pair_up_with_fields() {
    assert_eq!(pick("", "a").transform().unwrap_err(), ViewError::OutputFieldsWithoutFields);
    assert_eq!(
        pick("a,b", "c").transform().unwrap_err(),
        ViewError::OutputFieldsDiffer { fields: 2, output_fields: 1 }
    );
}

#[test]
fn a_reader_can_stop_in_the_middle_of_an_item() {
    let mut seen = 0;

    let outcome = unwind("f").transform().unwrap().apply(br#"{"f":[1,2,3]}"#, |_| {
        seen += 1;
        if seen == 2 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });

    assert_eq!((outcome, seen), (Ok(ControlFlow::Break(())), 2));
}

#[test]
fn what_would_grow_beyond_measure_is_made_in_small_steps_or_left_alone() {
    // A thousand elements beside a thousand elements: a million entries, of which each call makes at most one.
    let numbers = vec!["0"; 1000].join(",");
    let item = format!("{{\"f\":[{numbers}],\"g\":[{numbers}]}}");
    let transform = unwind("f,g").transform().unwrap();
    let mut entries = transform.entries(item.as_bytes()).unwrap();
    let mut out = Vec::new();
    for _ in 0..100 {
        entries.next_into(&mut out);
    }
    assert!(out.len() < 100 * item.len());

    let leaves = (0..100_000).map(|n| format!("\"{n}\":0")).collect::<Vec<_>>().join(",");
    let item = format!("{{\"m\":{{\"{}\":{{{leaves}}}}}}}", "k".repeat(100_000));
    assert_eq!(shown(&flatten("m"), &item), [item]);
}

#[test]
fn many_properties_are_found_as_well_as_few() {
    let members = (0..1000).map(|n| format!("\"k{}\":{n}", n % 500)).collect::<Vec<_>>().join(",");
    let item = format!("{{{members}}}");

    assert_eq!(shown(&pick("k0,k499,k500,k77", ""), &item), [r#"{"k0":500,"k499":999,"k77":577}"#]);
    let all_but_three = (3..500).map(|n| format!("k{n}")).collect::<Vec<_>>().join(",");
    let omit = with(|view| view.omit = names(&all_but_three));
    assert_eq!(shown(&omit, &item), [r#"{"k0":500,"k1":501,"k2":502}"#]);
}

#[test]
fn an_item_that_is_no_object_is_an_error() {
    let transform = with(|view| view.clean = true).transform().unwrap();
    for item in [&b"[]"[..], b"", b"{", b"{} x", b"{\"\xff\":1}"] {
        assert!(transform.entries(item).is_err());
    }
}

/// The contract's transformations on parsed values, written for being read.
fn model(view: &ItemView, item: &Map<String, Value>) -> Vec<Map<String, Value>> {
    let truthy = |value: &Value| match value {
        Value::Null => false,
        Value::Bool(value) => *value,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        _ => true,
    };
    if view.skip_failed_pages && item.get("errorInfo").is_some_and(truthy) {
        return vec![];
    }
    let mut entries = vec![item.clone()];
    if view.simplified {
        let fields = names("url,pageFunctionResult,errorInfo");
        entries = vec![model_pick(item, &fields, &fields)];
        entries = entries.iter().flat_map(|entry| model_unwind(entry, "pageFunctionResult")).collect();
    }
    if view.skip_hidden || view.clean {
        entries.iter_mut().for_each(|entry| entry.retain(|key, _| !key.starts_with('#')));
    }
    for field in &view.unwind {
        entries = entries.iter().flat_map(|entry| model_unwind(entry, field)).collect();
    }
    for field in &view.flatten {
        entries = entries.iter().map(|entry| model_flatten(entry, field)).collect();
    }
    if !view.fields.is_empty() {
        let output = if view.output_fields.is_empty() { &view.fields } else { &view.output_fields };
        entries = entries.iter().map(|entry| model_pick(entry, &view.fields, output)).collect();
    }
    entries.iter_mut().for_each(|entry| entry.retain(|key, _| !view.omit.contains(key)));
    if view.skip_empty || view.clean {
        entries.retain(|entry| !entry.is_empty());
    }
    entries
}

fn model_pick(entry: &Map<String, Value>, fields: &[String], output: &[String]) -> Map<String, Value> {
    let present = fields.iter().zip(output).filter_map(|(from, to)| Some((to.clone(), entry.get(from)?.clone())));
    present.collect()
}

fn model_unwind(entry: &Map<String, Value>, field: &str) -> Vec<Map<String, Value>> {
    let mut parent = entry.clone();
    parent.shift_remove(field);
    let merged = |element: &Map<String, Value>| {
        let mut merged = parent.clone();
        merged.extend(element.clone());
        merged
    };
    match entry.get(field) {
        Some(Value::Object(object)) => vec![merged(object)],
        Some(Value::Array(elements)) if elements.is_empty() => vec![parent],
        Some(Value::Array(elements)) => elements
            .iter()
            .map(|element| match element {
                Value::Object(object) => merged(object),
                other => {
                    let mut entry = entry.clone();
                    entry.insert(field.to_owned(), other.clone());
                    entry
                }
            })
            .collect(),
        _ => vec![entry.clone()],
    }
}

fn model_flatten(entry: &Map<String, Value>, field: &str) -> Map<String, Value> {
    fn leaves(path: &str, value: &Value, flat: &mut Map<String, Value>) {
        match value.as_object().filter(|object| !object.is_empty()) {
            Some(object) => object.iter().for_each(|(key, value)| leaves(&format!("{path}.{key}"), value, flat)),
            None => {
                flat.insert(path.to_owned(), value.clone());
            }
        }
    }
    let mut flat = Map::new();
    for (key, value) in entry {
        if key == field {
            leaves(key, value, &mut flat);
        } else {
            flat.insert(key.clone(), value.clone());
        }
    }
    flat
}

fn a_key() -> impl Strategy<Value = String> {
    let keys = ["a", "b", "f", "g", "#h", "a.b", "f.a", "", "é\"\n", "url", "errorInfo", "pageFunctionResult"];
    proptest::sample::select(keys.map(str::to_owned).to_vec())
}

fn an_item() -> impl Strategy<Value = Map<String, Value>> {
    let scalar =
        prop_oneof![Just(json!(null)), Just(json!(0)), Just(json!("")), Just(json!("x\"y")), Just(json!(true))];
    let value = scalar.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::Array),
            proptest::collection::vec((a_key(), inner), 0..4).prop_map(|members| members.into_iter().collect()),
        ]
    });
    proptest::collection::vec((a_key(), value), 0..6).prop_map(|members| members.into_iter().collect())
}

fn a_view() -> impl Strategy<Value = ItemView> {
    let keys = || proptest::collection::vec(a_key(), 0..3);
    (any::<[bool; 5]>(), keys(), keys(), keys(), any::<bool>(), keys(), keys()).prop_map(
        |([failed, simplified, hidden, empty, clean], unwind, flatten, fields, rename, output, omit)| ItemView {
            skip_failed_pages: failed,
            simplified,
            skip_hidden: hidden,
            skip_empty: empty,
            clean,
            unwind,
            flatten,
            output_fields: if rename && output.len() == fields.len() { output } else { Vec::new() },
            fields,
            omit,
            ..ItemView::default()
        },
    )
}

proptest! {
    #[test]
    fn every_view_agrees_with_the_model(item in an_item(), view in a_view(), pretty in any::<bool>()) {
        let text = if pretty { serde_json::to_string_pretty(&item) } else { serde_json::to_string(&item) }.unwrap();

        let entries: Vec<String> = shown(&view, &text)
            .iter()
            .map(|entry| serde_json::from_str::<Value>(entry).unwrap().to_string())
            .collect();

        let expected: Vec<String> = model(&view, &item).into_iter().map(|entry| Value::Object(entry).to_string()).collect();
        prop_assert_eq!(entries, expected);
    }

    #[test]
    fn any_bytes_are_answered(item in proptest::collection::vec(any::<u8>(), 0..64), view in a_view()) {
        let _ = view.transform().unwrap().apply(&item, |_| ControlFlow::Continue(()));
        FieldCollector::default().add(&item);
    }
}
