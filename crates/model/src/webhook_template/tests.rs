use proptest::prelude::*;
use serde_json::json;

use super::*;

const MAX: usize = 1 << 20;

fn context() -> Value {
    json!({
        "userId": "user",
        "createdAt": "2026-08-31T09:13:25.000Z",
        "eventType": "ACTOR.RUN.SUCCEEDED",
        "eventData": { "actorId": "actor", "actorRunId": "run" },
        "resource": {
            "id": "run", "exitCode": 0, "ok": true, "not": false, "empty": "", "none": null, "quoted": "a\"b\\{{userId}}",
            "list": [1, "two", { "three": 3 }], "object": { "a": { "b": 1.5 } }
        },
        "globals": { "dateISO": "2026-08-31T09:13:26.000Z", "dateUnix": 1_788_167_606 },
    })
}

fn filled(template: &str, interpolate: bool) -> Value {
    let written = Template::parse(template, interpolate).unwrap().fill(&context(), MAX).unwrap();
    serde_json::from_slice(&written).unwrap()
}

#[test]
fn variables_outside_strings_become_their_json() {
    for (template, expected) in [
        (r#"{"a": {{userId}}}"#, json!({ "a": "user" })),
        (r#"{{resource.list}}"#, json!([1, "two", { "three": 3 }])),
        (r#"[{{resource.list.1}},{{resource.list.2.three}},{{resource.list.9}}]"#, json!(["two", 3, null])),
        (r#"{"deep": [[{"x": {{resource.object.a.b}}}]]}"#, json!({ "deep": [[{ "x": 1.5 }]] })),
        (r#"[{{resource.exitCode}}, {{resource.not}}, {{resource.empty}}]"#, json!([null, null, null])),
        (r#"[{{resource.none}}, {{resource.missing}}, {{resource.id.missing}}]"#, json!([null, null, null])),
        (r#"{{resource.ok}}"#, json!(true)),
        (r#"{{resource.quoted}}"#, json!("a\"b\\{{userId}}")),
        (r#"{"a":"{{userId}}","b\"{{":{{userId}},"c":"\\"}"#, json!({ "a": "{{userId}}", "b\"{{": "user", "c": "\\" })),
        (r#"{"a": {"b": {}}}"#, json!({ "a": { "b": {} } })),
        (r#"{"a": 1, "a": {{globals.dateUnix}}}"#, json!({ "a": 1_788_167_606 })),
        ("\"\\u0000\\u00000\"", json!("\0\u{0}0")),
        ("[\"\\u00000\", {{userId}}]", json!(["\u{0}0", "user"])),
        ("  12.5 ", json!(12.5)),
    ] {
        assert_eq!(filled(template, false), expected, "{template}");
    }
}

#[test]
fn variables_inside_strings_count_if_that_is_asked_for() {
    for (template, expected) in [
        (r#"{"a": "{{userId}}"}"#, json!({ "a": "user" })),
        (
            r#"["{{resource.exitCode}}", "{{resource.not}}", "{{resource.list}}"]"#,
            json!([0, false, [1, "two", { "three": 3 }]]),
        ),
        (r#"["{{resource.missing}}"]"#, json!([null])),
        (r#"["run {{resource.id}} of {{userId}}"]"#, json!(["run run of user"])),
        (r#"["{{resource.exitCode}}/{{resource.none}}/{{resource.missing}}"]"#, json!(["0/null/undefined"])),
        (r#"["<{{resource.object.a}}>"]"#, json!(["<{\"b\":1.5}>"])),
        (
            r#"["{{{userId}}}", "{{ userId }}", "{{}}", "{{userId"]"#,
            json!(["{user}", "{{ userId }}", "{{}}", "{{userId"]),
        ),
        (r#"{"{{userId}}": {{resource.quoted}}}"#, json!({ "{{userId}}": "a\"b\\{{userId}}" })),
        (r#"["é{{userId}}é"]"#, json!(["éuseré"])),
    ] {
        assert_eq!(filled(template, true), expected, "{template}");
    }
}

#[test]
fn what_is_no_template_is_refused() {
    let refused = |template: &str| Template::parse(template, true).unwrap_err();

    for (template, name) in [
        ("{{nothing}}", "nothing"),
        ("{{ userId }}", " userId "),
        ("{{}}", ""),
        ("{{{userId}}}", "{userId"),
        (r#"["{{nothing.at.all}}"]"#, "nothing"),
        (r#"["{{.userId}}"]"#, ""),
    ] {
        assert_eq!(refused(template), TemplateError::Variable(name.to_owned()), "{template}");
    }
    for template in
        ["", "{", "{{userId}", "{{userId}} {{userId}}", r#"{ {{userId}}: 1 }"#, "nul", "\"", "[1,]", "-{{userId}}"]
    {
        assert!(matches!(refused(template), TemplateError::Json(_)), "{template}");
    }
    assert!(Template::parse(&"[".repeat(100_000), false).is_err());
    assert_eq!(refused("{{nothing}}").to_string(), "Invalid payload template variable: nothing");
}

#[test]
fn the_default_has_all_that_is_known() {
    let written = Template::default().fill(&context(), MAX).unwrap();

    let mut expected = context();
    expected.as_object_mut().unwrap().remove("globals");
    assert_eq!(serde_json::from_slice::<Value>(&written).unwrap(), expected);
}

#[test]
fn what_is_filled_in_has_a_bound() {
    let context = json!({ "resource": "x".repeat(1000) });
    for (template, interpolate) in [("[{{resource}},{{resource}}]", false), (r#"["{{resource}}{{resource}} "]"#, true)]
    {
        let template = Template::parse(template, interpolate).unwrap();

        assert_eq!(template.fill(&context, 1500), Err(TooLarge(1500)));
        assert!(template.fill(&context, 2010).is_ok());
    }
}

#[test]
fn headers_are_a_flat_object_of_texts() {
    let headers = |template: &str| HeadersTemplate::parse(template, true);
    let filled = headers(
        r#"{"Authorization": "Bearer {{userId}}", "X-Code": "{{resource.exitCode}}", "X-N": 5, "X-None": {{resource.none}}, "X-Id": {{resource.id}}}"#,
    );
    let filled = filled.unwrap().fill(&context(), MAX).unwrap();
    let filled: Vec<_> = filled.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!(filled, [("Authorization", "Bearer user"), ("X-Code", "0"), ("X-N", "5"), ("X-Id", "run")]);
    assert_eq!(headers("{}").unwrap().fill(&context(), MAX).unwrap(), []);

    for bad in [
        "[]",
        "1",
        "{{resource}}",
        r#"{"a": {}}"#,
        r#"{"a": [{{userId}}]}"#,
        r#"{"a": {"b": {{userId}}}}"#,
        r#"{"a": null}"#,
    ] {
        assert_eq!(headers(bad), Err(TemplateError::NotFlat), "{bad}");
    }
    for bad in [r#"{"a b": "c"}"#, r#"{"": "c"}"#, r#"{"a": "b\r\nc: d"}"#, r#"{"a:": "b"}"#] {
        assert!(matches!(headers(bad), Err(TemplateError::Header(_))), "{bad}");
    }
    let injected = headers(r#"{"X-A": {{resource}}}"#).unwrap();
    let context = json!({ "resource": "a\r\nX-Evil: 1" });
    assert_eq!(injected.fill(&context, MAX), Err(TemplateError::Header("X-A".to_owned())));
    assert!(injected.fill(&json!({ "resource": "x".repeat(100) }), 50).is_err());
}

/// Any JSON.
fn json_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "[ -~\\PC\u{0}]{0,12}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::hash_map("[a-z\"{}\u{0}]{0,4}", inner, 0..6)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn any_text_is_a_template_or_refused_and_what_is_filled_is_json(
        pieces in prop::collection::vec(
            prop_oneof![
                Just("{{".to_owned()), Just("}}".to_owned()), Just("{{userId}}".to_owned()), Just("\"".to_owned()),
                Just("\\".to_owned()), Just("[".to_owned()), Just("]".to_owned()), Just(",".to_owned()),
                Just("resource.a".to_owned()), Just("\\u0000".to_owned()), Just(":".to_owned()), "\\PC{0,3}",
            ],
            0..24,
        ),
        interpolate: bool,
        resource in json_value(),
    ) {
        if let Ok(template) = Template::parse(&pieces.concat(), interpolate) {
            let context = json!({ "userId": "u", "resource": resource });
            let written = template.fill(&context, MAX).unwrap();
            prop_assert!(serde_json::from_slice::<Value>(&written).is_ok());
        }
        let _ = HeadersTemplate::parse(&pieces.concat(), interpolate);
    }

    #[test]
    fn json_without_variables_comes_out_as_it_is(value in json_value()) {
        let template = Template::parse(&value.to_string(), false).unwrap();

        let written = template.fill(&context(), MAX).unwrap();

        prop_assert_eq!(serde_json::from_slice::<Value>(&written).unwrap(), value);
    }

    #[test]
    fn a_value_comes_out_as_it_went_in_wherever_it_stands(value in json_value(), around in json_value()) {
        let context = json!({ "resource": { "v": value } });
        let inside = json!({ "before": around, "it": "{{resource.v}}" });

        let typed = Template::parse(&inside.to_string(), true);
        // What stands around may hold something that looks like a variable.
        if let Ok(typed) = typed {
            let written = typed.fill(&context, MAX).unwrap();
            prop_assert_eq!(&serde_json::from_slice::<Value>(&written).unwrap()["it"], &value);
        }
        let bare = Template::parse("[{{resource.v}}]", false).unwrap().fill(&context, MAX).unwrap();
        let expected = if is_truthy(&value) { value } else { Value::Null };
        prop_assert_eq!(&serde_json::from_slice::<Value>(&bare).unwrap()[0], &expected);
    }
}
