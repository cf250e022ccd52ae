//! How `actor.json` is read and what a build finds in a source tree.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::json;

use super::*;

const SCHEMA: &str = r#"{"title": "T", "type": "object", "schemaVersion": 1, "properties": {}}"#;

fn tree(files: &[(&str, &str)]) -> BTreeMap<String, String> {
    files.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect()
}

fn definition(files: &[(&str, &str)]) -> ActorDefinition {
    ActorDefinition::read(&tree(files)).unwrap()
}

fn refusal(files: &[(&str, &str)]) -> String {
    ActorDefinition::read(&tree(files)).unwrap_err().to_string()
}

#[test]
fn an_actor_json_of_a_template_is_read() {
    let file = ActorJson::parse(
        r#"{
            // As the templates have it.
            "actorSpecification": 1,
            "name": "my-actor", "title": "My", "description": "d", "version": "0.0", "buildTag": "latest",
            "meta": {"templateId": "js-start"},
            "input": "./input_schema.json",
            "output": {"actorOutputSchemaVersion": 1, "properties": {}},
            "storages": {"dataset": "./dataset_schema.json", "datasets": {"errors": {"views": {}}}, "keyValueStore": null},
            "dockerfile": "./Dockerfile", "dockerContextDir": "..",
            "environmentVariables": {"A": "1", "S": "@secret"},
            "minMemoryMbytes": 256, "maxMemoryMbytes": 1024.0, "defaultMemoryMbytes": "input.n * 512",
            "usesStandbyMode": true, "webServerMcpPath": "/mcp",
        }"#,
    )
    .unwrap();

    assert_eq!((file.name.as_deref(), file.version.as_deref()), (Some("my-actor"), Some("0.0")));
    assert_eq!(file.input, Some(Embedded::Path("./input_schema.json".to_owned())));
    assert_eq!(file.dataset, Some(Embedded::Path("./dataset_schema.json".to_owned())));
    assert_eq!(file.datasets, [("errors".to_owned(), Embedded::Inline(json!({"views": {}})))]);
    assert_eq!(file.key_value_store, None);
    assert_eq!(file.environment_variables["S"], "@secret");
    assert_eq!((file.min_memory_mbytes, file.max_memory_mbytes), (Some(256), Some(1024)));
    assert_eq!(file.default_memory, Some(DefaultMemory::Expression("input.n * 512".to_owned())));
    assert!(file.uses_standby_mode);
    assert_eq!(file.raw["meta"]["templateId"], "js-start");
}

#[test]
fn wrong_values_are_refused_with_the_field() {
    for (text, message) in [
        ("[]", "Could not parse .actor/actor.json: it must be an object"),
        (r#"{"dockerfile": 5}"#, r#"Invalid .actor/actor.json: "dockerfile" must be a string"#),
        (r#"{"actorSpecification": 2}"#, r#"Invalid .actor/actor.json: "actorSpecification" must be 1"#),
        (
            r#"{"version": "1"}"#,
            r#"Invalid .actor/actor.json: "version" must be MAJOR.MINOR or MAJOR.MINOR.PATCH, like "0.1""#,
        ),
        (r#"{"input": 5}"#, r#"Invalid .actor/actor.json: "input" must be an object or a path"#),
        (
            r#"{"storages": {"datasets": {"a": 1}}}"#,
            r#"Invalid .actor/actor.json: "datasets.a" must be an object or a path"#,
        ),
        (
            r#"{"minMemoryMbytes": 100}"#,
            r#"Invalid .actor/actor.json: "minMemoryMbytes" must be an integer between 128 and 32768"#,
        ),
        (
            r#"{"minMemoryMbytes": 512, "maxMemoryMbytes": 256}"#,
            r#"Invalid .actor/actor.json: "minMemoryMbytes" must not be greater than "maxMemoryMbytes""#,
        ),
        (
            r#"{"defaultMemoryMbytes": 1.5}"#,
            r#"Invalid .actor/actor.json: "defaultMemoryMbytes" must be an integer between 128 and 32768"#,
        ),
        (
            r#"{"environmentVariables": {"A": 1}}"#,
            r#"Invalid .actor/actor.json: "environmentVariables.A" must be a string"#,
        ),
    ] {
        assert_eq!(ActorJson::parse(text).unwrap_err().to_string(), message, "{text}");
    }
    assert!(refusal(&[(".actor/actor.json", "{")]).starts_with("Could not parse .actor/actor.json: "));
}

#[test]
fn everything_that_belongs_to_the_actor_is_inlined() {
    let actor_json = r#"{
        "actorSpecification": 1, "name": "a", "version": "0.1", "inputSchema": "input.json", "outputSchema": "../out.json",
        "storages": {"dataset": "./dataset.json", "datasets": {"default": {"fields": {}}, "more": "dataset.json"}, "keyValueStore": {"collections": {}}},
        "webServerSchema": "api.json", "readme": "../docs/readme.md", "dockerfile": "../Docker/Dev"
    }"#;
    let files = [
        (".actor/actor.json", actor_json),
        (".actor/input.json", SCHEMA),
        ("out.json", r#"{"properties": {"x": {"template": "{{links.x}}"}},}"#),
        (".actor/dataset.json", r#"{"actorSpecification": 1, "views": {}}"#),
        (".actor/api.json", r#"{"openapi": "3.0.0", "paths": {}}"#),
        ("Docs/README.md", "# Read me"),
        (".actor/CHANGELOG.md", "# Changes"),
        ("docker/dev", "FROM node"),
        ("Dockerfile", "FROM other"),
    ];

    let definition = definition(&files);

    assert_eq!(definition.dockerfile, Dockerfile::File("docker/dev".to_owned()));
    assert_eq!(definition.readme.as_deref(), Some("# Read me"));
    assert_eq!(
        definition.json,
        json!({
            "actorSpecification": 1, "name": "a", "version": "0.1",
            "input": {"title": "T", "type": "object", "schemaVersion": 1, "properties": {}},
            "output": {"properties": {"x": {"template": "{{links.x}}"}}},
            "storages": {
                "dataset": {"actorSpecification": 1, "views": {}},
                "datasets": {"default": {"fields": {}}, "more": {"actorSpecification": 1, "views": {}}},
                "keyValueStore": {"collections": {}},
            },
            "webServerSchema": {"openapi": "3.0.0", "paths": {}},
            "readme": "# Read me", "changelog": "# Changes", "dockerfile": "../Docker/Dev",
        })
    );
    assert_eq!(definition.input_schema_text().as_deref(), Some(SCHEMA.replace(": ", ":").replace(", ", ",").as_str()));
    let (dataset, key_value_store) = ActorDefinition::default_storage_schemas(&definition.json);
    assert_eq!((dataset, key_value_store), (Some(&json!({"fields": {}})), Some(&json!({"collections": {}}))));
    assert!(ActorJson::from_value(definition.json).is_ok());
}

#[test]
fn an_actor_without_actor_json_is_found_by_the_usual_names() {
    let legacy = definition(&[("INPUT_schema.JSON", SCHEMA), ("readme.MD", "hi"), ("main.js", "")]);
    assert!(legacy.input_schema.is_some());
    assert_eq!(legacy.readme.as_deref(), Some("hi"));
    assert_eq!(legacy.dockerfile, Dockerfile::BuiltIn);
    assert_eq!(legacy.json["readme"], "hi");

    let bare = definition(&[]);
    assert_eq!(bare.json, json!({}));
    assert!(bare.input_schema.is_none());
    assert_eq!(ActorDefinition::default_storage_schemas(&bare.json), (None, None));
}

#[test]
fn the_dockerfile_is_the_named_one_then_the_usual_ones() {
    let dockerfile = |files: &[(&str, &str)]| definition(files).dockerfile;
    let file = |path: &str| Dockerfile::File(path.to_owned());
    let named = (".actor/actor.json", r#"{"dockerfile": "./Dockerfile.dev"}"#);

    assert_eq!(dockerfile(&[named, (".actor/Dockerfile.dev", ""), ("Dockerfile", "")]), file(".actor/Dockerfile.dev"));
    assert_eq!(dockerfile(&[named, (".actor/Dockerfile", ""), ("Dockerfile", "")]), file(".actor/Dockerfile"));
    assert_eq!(dockerfile(&[named, ("Dockerfile", ""), ("dockerfile", "")]), file("Dockerfile"));
    assert_eq!(dockerfile(&[(".ACTOR/DOCKERFILE", "")]), file(".ACTOR/DOCKERFILE"));
    assert_eq!(dockerfile(&[named, ("Dockerfile/nested", "")]), Dockerfile::BuiltIn);
}

#[test]
fn paths_stay_inside_the_actor() {
    for (actor_json, message) in [
        (r#"{"input": "../../x.json"}"#, r#"Path "../../x.json" in "input" points outside the Actor root directory"#),
        (
            r#"{"dockerfile": "/etc/passwd"}"#,
            r#"Path "/etc/passwd" in "dockerfile" points outside the Actor root directory"#,
        ),
        (r#"{"readme": "a/../../../b"}"#, r#"Path "a/../../../b" in "readme" points outside the Actor root directory"#),
        (
            r#"{"storages": {"dataset": "../.."}}"#,
            r#"Path "../.." in "storages.dataset" points outside the Actor root directory"#,
        ),
        (r#"{"input": "missing.json"}"#, r#"File "missing.json" in "input" was not found"#),
    ] {
        assert_eq!(refusal(&[(".actor/actor.json", actor_json)]), message);
    }
}

#[test]
fn a_schema_that_is_wrong_fails_the_build() {
    for (files, message) in [
        (&[("INPUT_SCHEMA.json", "{}")][..], "Input schema is not valid (Field schema.title is required)"),
        (
            &[(".actor/actor.json", r#"{"storages": {"datasets": {"x": {"views": 1}}}}"#)],
            "Dataset schema \"x\" is not valid (Field schema.views must be object)",
        ),
        (
            &[(".actor/actor.json", r#"{"storages": {"keyValueStore": {"collections": 1}}}"#)],
            "Key-value store schema is not valid (Field schema.collections must be object)",
        ),
        (
            &[(".actor/actor.json", r#"{"output": {"properties": {"a": {}}}}"#)],
            "Output schema is not valid (Field schema.properties.a.template must be string)",
        ),
        (
            &[(".actor/actor.json", r#"{"webServerSchema": {"swagger": "2.0"}}"#)],
            "Web server schema is not valid (it must be an OpenAPI 3 document with \"openapi\" and \"paths\")",
        ),
    ] {
        assert_eq!(refusal(files), message);
    }
    let broken = refusal(&[(".actor/actor.json", r#"{"output": "o.json"}"#), (".actor/o.json", "{")]);
    assert!(broken.starts_with("File \".actor/o.json\" is not valid (Cannot parse JSON: "), "{broken}");
    let large = " ".repeat(500_001);
    assert!(refusal(&[("INPUT_SCHEMA.json", &large)]).starts_with("Input schema is too large"));
}

#[test]
fn the_docker_context_is_the_repository_unless_the_actor_says_otherwise() {
    let context = |dir: Option<&str>, actor_directory: &str| {
        let actor_json = json!({ "dockerContextDir": dir }).to_string();
        let found = definition(&[(".actor/actor.json", &actor_json)]).docker_context(actor_directory);
        found.map(|context| (context.directory, context.actor_path)).map_err(|error| error.to_string())
    };
    let is = |directory: &str, actor_path: &str| Ok((directory.to_owned(), actor_path.to_owned()));

    assert_eq!(context(None, ""), is("", "."));
    assert_eq!(context(Some(".."), ""), is("", "."));
    assert_eq!(context(None, "actors/one/"), is("", "actors/one"));
    assert_eq!(context(Some("../.."), "actors/one"), is("actors", "one"));
    assert_eq!(context(Some(".."), "actors/one"), is("actors/one", "."));
    let outside = "Path \"../..\" in \"dockerContextDir\" points outside the Actor root directory";
    assert_eq!(context(Some("../.."), ""), Err(outside.to_owned()));
    let elsewhere = "Invalid .actor/actor.json: \"dockerContextDir\" must be a directory that contains the Actor";
    assert_eq!(context(Some("../src"), ""), Err(elsewhere.to_owned()));
    assert_eq!(context(Some("../../on"), "actors/one"), Err(elsewhere.to_owned()));
}

#[test]
fn memory_is_a_power_of_two_within_the_bounds_of_the_build() {
    let memory = |file: Value, input: Value| ActorJson::from_value(file).unwrap().run_memory(&input, &json!({}), 2048);

    assert_eq!(memory(json!({}), json!({})), 2048);
    assert_eq!(memory(json!({"defaultMemoryMbytes": 1000}), json!({})), 1024);
    assert_eq!(memory(json!({"defaultMemoryMbytes": "input.n * 128"}), json!({"n": 4})), 512);
    assert_eq!(memory(json!({"defaultMemoryMbytes": "input.n * 128"}), json!({})), 2048);
    assert_eq!(memory(json!({"maxMemoryMbytes": 1500}), json!({})), 1024);
    assert_eq!(memory(json!({"minMemoryMbytes": 3000}), json!({})), 4096);
    assert_eq!(memory(json!({"minMemoryMbytes": 700, "maxMemoryMbytes": 800}), json!({})), 1024);
}

proptest! {
    #[test]
    fn any_actor_json_is_answered(
        text in r#"\{("(dockerfile|input|storages|version|readme|output|dataset|minMemoryMbytes|dockerContextDir)": ?("[./a-z]{0,6}"|\{\}|[0-9]{1,6}|null|\[\]),? ?){0,4}\}?"#,
    ) {
        if let Ok(definition) = ActorDefinition::read(&tree(&[(".actor/actor.json", &text), ("a", "{}"), (".actor/b", "")])) {
            let _ = definition.docker_context("x");
            definition.actor_json.run_memory(&json!({}), &json!({}), 0);
        }
    }
}
