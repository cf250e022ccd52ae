//! The texts of `INP-15`, `INP-19` and `INP-20`, and how inputs are completed.

use proptest::prelude::*;
use serde_json::json;

use super::*;

/// A schema with these fields; what every field needs is added to each.
fn schema_value(mut fields: Value, more: Value) -> Value {
    complete(&mut fields);
    let mut schema = json!({"title": "T", "type": "object", "schemaVersion": 1, "properties": fields});
    schema.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    schema
}

fn complete(fields: &mut Value) {
    for field in fields.as_object_mut().unwrap().values_mut() {
        let editor = match field["type"].as_str() {
            Some("string") if field["enum"].is_null() => Some("textfield"),
            Some("array" | "object") => Some("json"),
            None => Some("json"),
            _ => None,
        };
        let field = field.as_object_mut().unwrap();
        if let Some(editor) = editor {
            field.entry("editor").or_insert_with(|| editor.into());
        }
        field.entry("title").or_insert_with(|| "T".into());
        field.entry("description").or_insert_with(|| "D".into());
        if let Some(inner) = field.get_mut("properties") {
            complete(inner);
        }
        if let Some(inner) = field.get_mut("items").and_then(|items| items.get_mut("properties")) {
            complete(inner);
        }
    }
}

fn schema(fields: Value, more: Value) -> InputSchema {
    InputSchema::from_value(schema_value(fields, more)).unwrap()
}

fn prepared(schema: &InputSchema, input: &Value) -> Result<Value, String> {
    let outcome = schema.prepare(Some(input.to_string().as_bytes()), None);
    outcome.map(|input| serde_json::from_slice(&input.bytes()).unwrap()).map_err(|error| error.to_string())
}

fn failure(field: Value, value: Value) -> String {
    let message = prepared(&schema(json!({"f": field}), json!({})), &json!({"f": value})).unwrap_err();
    message.strip_prefix("Input is not valid: ").unwrap().to_owned()
}

#[test]
fn each_failure_has_its_message() {
    for (field, value, message) in [
        (json!({"type": "string"}), json!(1), "Field input.f must be string"),
        (json!({"type": "integer"}), json!(1.5), "Field input.f must be integer"),
        (json!({"type": "array"}), json!({}), "Field input.f must be array"),
        (json!({"type": "object"}), json!([]), "Field input.f must be object"),
        (json!({"type": "boolean"}), json!("true"), "Field input.f must be boolean"),
        (json!({"type": "number"}), json!(null), "Field input.f must be number"),
        (json!({"type": ["object", "string"]}), json!(1), "Field input.f must be object,string"),
        (
            json!({"type": "string", "enum": ["a", "b"]}),
            json!("c"),
            r#"Field input.f must be equal to one of the allowed values: "a", "b""#,
        ),
        (
            json!({"type": "string", "enum": ["a"]}),
            json!(1),
            r#"Field input.f must be string, Field input.f must be equal to one of the allowed values: "a""#,
        ),
        (json!({"type": "string", "pattern": "^\\d+$"}), json!("x"), r#"Field input.f must match pattern "^\d+$""#),
        (json!({"type": "integer", "minimum": 1}), json!(0), "Field input.f must be >= 1"),
        (json!({"type": "number", "maximum": 5.0}), json!(5.1), "Field input.f must be <= 5"),
        (json!({"type": "string", "minLength": 2}), json!("é"), "Field input.f must NOT have fewer than 2 characters"),
        (json!({"type": "string", "maxLength": 2}), json!("éée"), "Field input.f must NOT have more than 2 characters"),
        (json!({"type": "array", "minItems": 1}), json!([]), "Field input.f must NOT have fewer than 1 items"),
        (json!({"type": "array", "maxItems": 3}), json!([1, 2, 3, 4]), "Field input.f must NOT have more than 3 items"),
        (
            json!({"type": "array", "uniqueItems": true}),
            json!([{"a": 1, "b": 2}, {"b": 2.0, "a": 1}]),
            "Field input.f must NOT have duplicate items (items ## 1 and 0 are identical)",
        ),
        (
            json!({"type": "object", "minProperties": 1}),
            json!({}),
            "Field input.f must NOT have fewer than 1 properties",
        ),
        (
            json!({"type": "object", "maxProperties": 1}),
            json!({"a": 1, "b": 2}),
            "Field input.f must NOT have more than 1 properties",
        ),
        (
            json!({"type": "array", "items": {"type": "object", "properties": {"u": {"type": "string"}}, "required": ["u"]}}),
            json!([{"u": "x"}, {"u": 5}, {}]),
            "Field input.f.1.u must be string, Field input.f.2.u is required",
        ),
        (
            json!({"type": "object", "additionalProperties": false, "properties": {"a": {"type": "boolean"}}}),
            json!({"a": 1, "b": 2}),
            "Property input.f.b is not allowed., Field input.f.a must be boolean",
        ),
        (
            json!({"type": "object", "editor": "proxy"}),
            json!({"proxyUrls": ["http://u:p@h.com:80", "socks5h://localhost:1080", " htp://x:1 "]}),
            "Proxy URL \"htp://x:1\" has invalid format, \
             it must be socks[4|4a|5|5h]|http[s]://[username[:password]]@hostname:port.",
        ),
        (
            json!({"type": "object", "editor": "proxy"}),
            json!({"apifyProxyCountry": "US"}),
            "The country for Apify Proxy can be specified only when using Apify Proxy.",
        ),
        (
            json!({"type": "object", "editor": "proxy"}),
            json!({"useApifyProxy": true, "apifyProxyCountry": "XX"}),
            "Country code \"XX\" is invalid. Only ISO 3166-1 alpha-2 country codes are supported.",
        ),
        (
            json!({"type": "object", "editor": "proxy"}),
            json!({"useApifyProxy": true, "apifyProxyGroups": "A"}),
            "Field input.f.apifyProxyGroups must be an array of strings.",
        ),
        (
            json!({"type": "array", "editor": "requestListSources"}),
            json!([{"url": "ftp://x"}, {"url": "HTTPS://x"}, "http://x", {"requestsFromUrl": "http://l"}, {"requestsFromUrl": 1}]),
            "Items in input.f at positions [0,2,4] do not contain valid URLs",
        ),
        (
            json!({"type": "array", "editor": "keyValue", "patternKey": "^[a-z]+$", "patternValue": "^\\d*$"}),
            json!([{"key": "a", "value": "1"}, {"key": "B", "value": "x"}, {"value": ""}]),
            "Keys in input.f at positions [1] must match regular expression \"^[a-z]+$\", \
             Values in input.f at positions [1] must match regular expression \"^\\d*$\"",
        ),
        (
            json!({"type": "array", "editor": "stringList", "patternValue": "^a"}),
            json!(["a", "b"]),
            "Values in input.f at positions [1] must match regular expression \"^a\"",
        ),
        (
            json!({"type": "object", "patternKey": "^x", "patternValue": "^y"}),
            json!({"a": "y", "b": 1, "x": "y"}),
            "Keys [a,b] in input.f must match regular expression \"^x, \
             Keys [b] in input.f must have string value which matches regular expression \"^y\"",
        ),
        (
            json!({"type": "array", "isSecret": true}),
            json!("ENCRYPTED_JSON:0000000000:a2V5:dGV4dA=="),
            "The field schema.properties.f is a secret field, but its schema has changed. \
             Please update the value in the input editor.",
        ),
        (
            json!({"type": "string", "minLength": 3, "pattern": "x", "errorMessage": {"minLength": "Longer!"}}),
            json!("a"),
            "Longer!, Field input.f must match pattern \"x\"",
        ),
        (
            json!({"type": "object", "properties": {"n": {"type": "integer", "errorMessage": {"type": "A number, please"}}}}),
            json!({"n": "1"}),
            "A number, please",
        ),
    ] {
        assert_eq!(failure(field.clone(), value.clone()), message, "{value} in {field}");
    }
}

#[test]
fn what_is_missing_or_too_much_at_the_root_is_told_first() {
    let schema = schema(
        json!({
            "a": {"type": "string"},
            "b": {"type": "array"},
            "c": {"type": "integer", "default": 5},
            "p": {"type": "object", "editor": "proxy"},
        }),
        json!({"required": ["a", "b", "c", "p"], "additionalProperties": false}),
    );

    assert_eq!(
        prepared(&schema, &json!({"x": 1, "b": [], "p": {}, "c": "?"})).unwrap_err(),
        "Input is not valid: Field input.a is required, Property input.x is not allowed., \
         Field input.b must NOT have fewer than 1 items, Field input.c must be integer, \
         Field input.p is required. Please provide custom proxy URLs or use Apify Proxy."
    );
    let fine = json!({"a": "", "b": [0], "p": {"useApifyProxy": true}});
    assert_eq!(prepared(&schema, &fine).unwrap(), json!({"a": "", "b": [0], "p": {"useApifyProxy": true}, "c": 5}));
    let first = schema.prepare(None, None).unwrap_err().first_only();
    assert_eq!(
        (first.to_string().as_str(), first.kind()),
        ("Input is not valid: Field input.a is required", "invalid-input")
    );
}

#[test]
fn a_nullable_field_may_be_null_and_others_may_not() {
    let schema = schema(
        json!({
            "a": {"type": "string", "nullable": true, "enum": ["x"], "default": null},
            "b": {"type": "integer", "default": 1},
        }),
        json!({"required": ["b"]}),
    );

    assert_eq!(prepared(&schema, &json!({"a": null})).unwrap(), json!({"a": null, "b": 1}));
    assert_eq!(
        prepared(&schema, &json!({"b": null})).unwrap_err(),
        "Input is not valid: Field input.b must be integer"
    );
}

#[test]
fn absent_values_are_filled_from_defaults() {
    let schema = schema(
        json!({
            "plain": {"type": "string", "default": "d", "prefill": "p"},
            "prefilled": {"type": "string", "prefill": "p"},
            "object": {"type": "object", "default": {"a": 10, "own": true}, "properties": {
                "a": {"type": "integer", "default": 1},
                "b": {"type": "object", "properties": {"c": {"type": "integer", "default": 2}}},
                "none": {"type": "string"},
            }},
            "bare": {"type": "object", "properties": {"none": {"type": "string"}}},
            "list": {"type": "array", "default": [{}], "items": {"type": "object", "properties": {
                "n": {"type": "integer", "default": 3},
                "inner": {"type": "array", "items": {"type": "object", "properties": {"m": {"type": "integer", "default": 4}}}},
            }}},
        }),
        json!({}),
    );

    assert_eq!(
        prepared(&schema, &json!({})).unwrap(),
        json!({"plain": "d", "object": {"a": 10, "b": {"c": 2}, "own": true}, "list": [{}]})
    );
    assert_eq!(
        prepared(&schema, &json!({"plain": "", "object": {}, "list": [{}, {"n": 0, "inner": [{}]}]})).unwrap(),
        json!({"plain": "", "object": {}, "list": [{"n": 3}, {"n": 0, "inner": [{"m": 4}]}]})
    );
}

#[test]
fn bodies_that_are_no_json_object_are_refused() {
    let schema = schema(json!({}), json!({}));
    let answer = |body: &[u8], content_type| match schema.prepare(Some(body), content_type) {
        Ok(input) => String::from_utf8(input.bytes()).unwrap(),
        Err(error) => error.to_string(),
    };

    assert_eq!(answer(b"{\"x\": 1.0}", Some("Application/JSON; charset=utf-8")), r#"{"x":1.0}"#);
    assert_eq!(answer(b"", Some("application/x-www-form-urlencoded")), "{}");
    assert_eq!(answer(b"null", None), "{}");
    assert_eq!(answer(b"{}", Some("text/plain")), "Actor input must have content type \"application/json\".");
    assert_eq!(answer(b"[]", None), "The input JSON must be object, got \"array\" instead.");
    assert_eq!(answer(b"\"x\"", None), "The input JSON must be object, got \"string\" instead.");
    assert_eq!(answer(b"1", None), "The input JSON must be object, got \"number\" instead.");
    assert_eq!(answer(b"{", None), "Cannot parse input JSON body: EOF while parsing an object at line 1 column 1");
    assert!(answer("[".repeat(1000).as_bytes(), None).starts_with("Cannot parse input JSON body: recursion limit"));
    assert!(answer(b"\xff", None).starts_with("Cannot parse input JSON body: "));
}

#[test]
fn secret_fields_are_named_and_encrypted_values_pass() {
    let fields = |title: &str, max: u64| {
        json!({
            "a": {"type": "string", "isSecret": true, "minLength": 1},
            "b": {"type": "object", "isSecret": true, "title": title, "properties": {"title": {"type": "string", "maxLength": max}}},
            "c": {"type": "string"},
        })
    };
    let first = schema(fields("one", 5), json!({}));
    let secrets: Vec<_> = first.secret_fields().collect();

    assert_eq!(
        secrets.iter().map(|secret| (secret.name, secret.is_text)).collect::<Vec<_>>(),
        [("a", true), ("b", false)]
    );
    let hash = &secrets[1].schema_hash;
    assert_eq!(hash.len(), 10);
    let value = json!({"a": "ENCRYPTED_VALUE:a2V5:dGV4dA==", "b": format!("ENCRYPTED_JSON:{hash}:a2V5:dGV4dA==")});
    assert_eq!(prepared(&first, &value), Ok(value.clone()));
    assert!(prepared(&schema(fields("two", 5), json!({})), &value).is_ok());
    assert!(prepared(&schema(fields("one", 6), json!({})), &value).unwrap_err().contains("its schema has changed"));
    for wrong in ["ENCRYPTED_VALUE:", "ENCRYPTED_VALUE:a2V5", "ENCRYPTED_VALUE:a:b:c:d", "ENCRYPTED_JSON:a2V5:dGV4dA=="]
    {
        // None of these is an encrypted text, so they are judged, and will be encrypted, as what they are.
        assert_eq!(secrets[0].plain_text(&json!(wrong)).as_deref(), Some(wrong));
        assert!(prepared(&first, &json!({"b": wrong})).is_err() || wrong.starts_with("ENCRYPTED_JSON"), "{wrong}");
    }
}

#[test]
fn what_is_encrypted_of_a_secret_is_its_text_and_only_once() {
    let schema = schema(
        json!({
            "text": {"type": "string", "isSecret": true, "nullable": true},
            "tree": {"type": "object", "isSecret": true},
        }),
        json!({}),
    );
    let [text, tree] = schema.secret_fields().collect::<Vec<_>>().try_into().unwrap();

    assert_eq!(text.plain_text(&json!("hunter2")).as_deref(), Some("hunter2"));
    assert_eq!(tree.plain_text(&json!({"a": [1, "b"]})).as_deref(), Some(r#"{"a":[1,"b"]}"#));
    for kept in [json!(""), json!(null), text.encrypted("a2V5", "dGV4dA==")] {
        assert_eq!(text.plain_text(&kept), None, "{kept}");
    }

    let encrypted = tree.encrypted("a2V5", "dGV4dA==");
    let parsed = EncryptedValue::parse(&encrypted).unwrap();
    assert_eq!((parsed.is_text, parsed.key, parsed.text), (false, "a2V5", "dGV4dA=="));
    assert_eq!(parsed.schema_hash, Some(tree.schema_hash.as_str()));
    assert_eq!(text.encrypted("a2V5", "dGV4dA=="), "ENCRYPTED_VALUE:a2V5:dGV4dA==");
}

#[test]
fn a_broken_schema_is_refused_with_the_field_that_breaks_it() {
    let field = |field: Value| schema_value(json!({"f": field}), json!({}));
    for (schema, message) in [
        (json!([]), "Field schema must be object"),
        (json!({"type": "object", "properties": {}, "schemaVersion": 1}), "Field schema.title is required"),
        (schema_value(json!({}), json!({"schemaVersion": 2})), "Field schema.schemaVersion must be <= 1"),
        (schema_value(json!({}), json!({"extra": 1})), "Property schema.extra is not allowed."),
        (
            schema_value(json!({}), json!({"type": "array"})),
            r#"Field schema.type must be equal to one of the allowed values: "object""#,
        ),
        (
            schema_value(json!({}), json!({"required": ["a", "a"]})),
            "Field schema.required must NOT have duplicate items (items ## 1 and 0 are identical)",
        ),
        (
            schema_value(json!({}), json!({"required": ["nope"]})),
            "Field schema.properties.nope does not exist, but it is specified in schema.required. \
             Either define the field or remove it from schema.required.",
        ),
        (
            json!({"title": "T", "type": "object", "schemaVersion": 1, "properties": {"f": 5}}),
            "Field schema.properties.f must be object",
        ),
        (
            field(json!({"type": "date"})),
            "Field schema.properties.f is not matching any input schema type definition. \
             Please make sure that it's type is valid.",
        ),
        (
            json!({"title": "T", "type": "object", "schemaVersion": 1, "properties": {"f": {"type": "string", "title": "T", "description": "D"}}}),
            "Field schema.properties.f.editor is required",
        ),
        (
            json!({"title": "T", "type": "object", "schemaVersion": 1, "properties": {"f": {"type": "boolean", "title": "T"}}}),
            "Field schema.properties.f.description is required",
        ),
        (field(json!({"type": "boolean", "title": 1})), "Field schema.properties.f.title must be string"),
        (field(json!({"type": "boolean", "minimum": 1})), "Property schema.properties.f.minimum is not allowed."),
        (
            field(json!({"type": "boolean", "editor": "json"})),
            r#"Field schema.properties.f.editor must be equal to one of the allowed values: "checkbox", "hidden""#,
        ),
        (
            field(json!({"type": "string", "isSecret": true, "editor": "javascript"})),
            r#"Field schema.properties.f.editor must be equal to one of the allowed values: "textfield", "textarea", "hidden""#,
        ),
        (field(json!({"type": "integer", "default": 1.5})), "Field schema.properties.f.default must be integer"),
        (field(json!({"type": "string", "default": null})), "Field schema.properties.f.default must be string"),
        (
            field(json!({"type": "string", "enum": []})),
            "Field schema.properties.f.enum must NOT have fewer than 1 items",
        ),
        (
            field(json!({"type": "string", "pattern": "("})),
            "Field schema.properties.f.pattern must be a valid regular expression",
        ),
        (
            field(json!({"type": "string", "pattern": "^(a+)+$"})),
            "Field schema.properties.f.pattern must be a safe regular expression (it may take exponential time)",
        ),
        (
            field(
                json!({"type": "array", "items": {"type": "object", "properties": {"x": {"type": "object", "properties": {"y": {"type": "boolean", "sectionCaption": "S"}}}}}}),
            ),
            "Property schema.properties.f.items.x.y.sectionCaption is not allowed.",
        ),
        (
            field(json!({"type": "string", "resourceType": "folder"})),
            "Field schema.properties.f.resourceType must be equal to one of the allowed values: \
             \"dataset\", \"keyValueStore\", \"requestQueue\", \"mcpConnector\"",
        ),
        (
            field(
                json!({"type": "array", "resourceType": "dataset", "editor": "hidden", "resourcePermissions": ["WRITE"]}),
            ),
            "Field schema.properties.f.resourcePermissions must be [\"READ\"] or [\"READ\", \"WRITE\"]",
        ),
    ] {
        let error = InputSchema::from_value(schema.clone()).expect_err(&schema.to_string()).to_string();
        assert_eq!(error, format!("Input schema is not valid ({message})"));
    }
    assert!(
        InputSchema::parse("{").unwrap_err().to_string().starts_with("Input schema is not valid (Cannot parse JSON: ")
    );
    assert!(InputSchema::parse(&" ".repeat(500_001)).unwrap_err().to_string().contains("500001 bytes"));
}

#[test]
fn a_schema_with_every_kind_of_field_is_accepted() {
    let text = r#"{
        "$schema": "https://apify.com/schemas/v1/input.ide.json", // what editors like to see
        "title": "All", "type": "object", "schemaVersion": 1, "description": "d", "additionalProperties": true,
        "required": ["startUrls"],
        "properties": {
            "startUrls": {"title": "t", "type": "array", "description": "d", "editor": "requestListSources", "sectionCaption": "s",
                "prefill": [{"url": "https://apify.com"}], "placeholderValue": "v", "uniqueItems": true},
            "mode": {"title": "t", "type": "string", "description": "d", "enum": ["a", "b"], "enumTitles": ["A", "B"], "default": "a"},
            "when": {"title": "t", "type": "string", "description": "d", "editor": "datepicker", "dateType": "absoluteOrRelative"},
            "suggested": {"title": "t", "type": "string", "description": "d", "editor": "select", "enumSuggestedValues": ["x"]},
            "max": {"title": "t", "type": "integer", "description": "d", "minimum": 0, "unit": "items", "editor": "number", "nullable": true, "default": null},
            "ratio": {"title": "t", "type": "number", "description": "d", "maximum": 0.5},
            "proxy": {"title": "t", "type": "object", "description": "d", "editor": "proxy", "prefill": {"useApifyProxy": true}},
            "token": {"title": "t", "type": "string", "description": "d", "editor": "textfield", "isSecret": true},
            "dataset": {"title": "t", "type": "string", "description": "d", "resourceType": "dataset", "editor": "resourcePicker", "resourcePermissions": ["READ"]},
            "any": {"title": "t", "type": ["string", "integer"], "description": "d", "editor": "json"},
            "flag": {"title": "t", "type": "boolean", "description": "d", "groupCaption": "g", "errorMessage": {"type": "no"}},
            "tree": {"title": "t", "type": "object", "description": "d", "editor": "schemaBased", "required": ["leaf"], "additionalProperties": false,
                "properties": {"leaf": {"title": "t", "type": "string", "description": "d", "default": "x"}}},
        },
    }"#;

    let schema = InputSchema::parse(text).unwrap();

    assert_eq!(schema.source()["properties"]["mode"]["default"], "a");
    let input = prepared(&schema, &json!({"startUrls": [{"url": "https://example.com"}]})).unwrap();
    assert_eq!(input["tree"], json!({"leaf": "x"}));
    assert_eq!(input["max"], json!(null));
}

fn any_json() -> impl Strategy<Value = Value> {
    let word = proptest::sample::select(vec![
        "type",
        "properties",
        "items",
        "default",
        "enum",
        "pattern",
        "string",
        "object",
        "array",
        "integer",
        "required",
        "f",
        "editor",
        "json",
        "(a|b)",
        "proxy",
        "isSecret",
    ]);
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        word.clone().prop_map(Value::from)
    ];
    leaf.prop_recursive(4, 32, 4, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::Array),
            proptest::collection::vec((word.clone().prop_map(str::to_owned), inner), 0..5)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn any_schema_and_any_input_are_answered(field in any_json(), schema in any_json(), input in any_json()) {
        let _ = InputSchema::from_value(schema);
        let fields = json!({"f": field});
        let source = json!({"title": "T", "type": "object", "schemaVersion": 1, "properties": fields, "required": ["f"]});
        // Unchecked on purpose: a field that breaks the rules must not break the validator either.
        if let Ok(root) = Field::root(&source) {
            let schema = InputSchema { source, root };
            for value in [input.clone(), json!({"f": input})] {
                let _ = schema.prepare(Some(value.to_string().as_bytes()), None);
            }
        }
    }
}

/// The table of `INP-3`: what a field is, which editors it may have, and whether it needs one.
const EDITORS: &[(&str, &[&str], bool)] = &[
    (
        r#"{"type":"string"}"#,
        &["textfield", "textarea", "javascript", "python", "select", "datepicker", "fileupload", "hidden"],
        true,
    ),
    (r#"{"type":"string","isSecret":true}"#, &["textfield", "textarea", "hidden"], true),
    (r#"{"type":"string","enum":["a"]}"#, &["select"], false),
    (r#"{"type":"boolean"}"#, &["checkbox", "hidden"], false),
    (r#"{"type":"integer"}"#, &["number", "hidden"], false),
    (r#"{"type":"number"}"#, &["number", "hidden"], false),
    (r#"{"type":"object"}"#, &["json", "proxy", "schemaBased", "hidden"], true),
    (r#"{"type":"object","isSecret":true}"#, &["json", "hidden"], true),
    (
        r#"{"type":"array"}"#,
        &[
            "json",
            "requestListSources",
            "pseudoUrls",
            "globs",
            "keyValue",
            "stringList",
            "fileupload",
            "select",
            "schemaBased",
            "hidden",
        ],
        true,
    ),
    (r#"{"type":"array","isSecret":true}"#, &["json", "hidden"], true),
    (r#"{"type":"string","resourceType":"dataset"}"#, &["resourcePicker", "textfield", "hidden"], false),
    (r#"{"type":"array","resourceType":"keyValueStore"}"#, &["resourcePicker", "hidden"], false),
    (r#"{"type":["string","integer"]}"#, &["json", "hidden"], true),
];

#[test]
fn every_kind_of_field_has_its_editors_and_no_others() {
    let accepts = |field: &str, editor: Option<&str>| {
        let mut field: Value = serde_json::from_str(field).unwrap();
        let members = field.as_object_mut().unwrap();
        members.insert("title".to_owned(), "T".into());
        members.insert("description".to_owned(), "D".into());
        if let Some(editor) = editor {
            members.insert("editor".to_owned(), editor.into());
        }
        let schema = json!({"title": "T", "type": "object", "schemaVersion": 1, "properties": {"f": field}});
        InputSchema::from_value(schema).is_ok()
    };
    let all: std::collections::BTreeSet<&str> = EDITORS.iter().flat_map(|(_, editors, _)| *editors).copied().collect();
    assert_eq!(all.len(), 19);

    for (field, editors, needed) in EDITORS {
        assert_eq!(accepts(field, None), !needed, "{field} without an editor");
        for editor in all.iter().chain(&["no-such-editor"]) {
            assert_eq!(accepts(field, Some(editor)), editors.contains(editor), "{field} with {editor}");
        }
    }
}

#[test]
fn every_field_and_every_field_within_needs_its_texts() {
    let text = |missing: &str| {
        let mut inner = json!({"title": "T", "description": "D", "type": "integer"});
        inner.as_object_mut().unwrap().remove(missing);
        let outer =
            json!({"title": "T", "description": "D", "type": "object", "editor": "json", "properties": {"in": inner}});
        let schema = json!({"title": "T", "type": "object", "schemaVersion": 1, "properties": {"f": outer}});
        InputSchema::from_value(schema).map(drop).map_err(|error| error.to_string())
    };

    assert_eq!(text("nothing"), Ok(()));
    for missing in ["title", "description"] {
        let message = format!("Input schema is not valid (Field schema.properties.f.in.{missing} is required)");
        assert_eq!(text(missing), Err(message), "INP-4");
    }
}
