//! Checking a schema when it is built: what stands at its root, then field by field (`INP-2` to `INP-4`, `INP-19`).

use serde_json::{Map, Value, json};

use super::field::is_of_type;
use super::validate::find_duplicates;

/// What a keyword may hold.
#[derive(Clone, Copy)]
enum Shape {
    Text,
    Bool,
    Int,
    Number,
    /// A list of strings.
    Strings {
        at_least: usize,
        unique: bool,
    },
    /// A value of the field's own type.
    Own,
    /// As `Own`, or `null` for a field that may be null.
    Default,
    Object,
    OneOf(&'static [&'static str]),
    /// `["READ"]` or `["READ", "WRITE"]`.
    Permissions,
}

const NAMES: Shape = Shape::Strings { at_least: 0, unique: true };
const TEXTS: Shape = Shape::Strings { at_least: 1, unique: false };

/// A kind of field: what it may say.
struct Kind {
    editors: &'static [&'static str],
    needs_editor: bool,
    /// The editors left when the field is a secret; none if it cannot be one.
    secret_editors: &'static [&'static str],
    needed: &'static [&'static str],
    keywords: &'static [(&'static str, Shape)],
}

const COMMON: [(&str, Shape); 8] = [
    ("title", Shape::Text),
    ("description", Shape::Text),
    ("default", Shape::Default),
    ("prefill", Shape::Own),
    ("example", Shape::Own),
    ("nullable", Shape::Bool),
    ("errorMessage", Shape::Object),
    ("type", Shape::Own),
];

const ROOT_ONLY: [(&str, Shape); 2] = [("sectionCaption", Shape::Text), ("sectionDescription", Shape::Text)];

const STRING: Kind = Kind {
    editors: &["textfield", "textarea", "javascript", "python", "select", "datepicker", "fileupload", "hidden"],
    needs_editor: true,
    secret_editors: &["textfield", "textarea", "hidden"],
    needed: &[],
    keywords: &[
        ("pattern", Shape::Text),
        ("minLength", Shape::Int),
        ("maxLength", Shape::Int),
        ("enumSuggestedValues", TEXTS),
        ("enumTitles", TEXTS),
        ("dateType", Shape::OneOf(&["absolute", "relative", "absoluteOrRelative"])),
    ],
};

const ENUM: Kind = Kind {
    editors: &["select"],
    needs_editor: false,
    secret_editors: &[],
    needed: &["enum"],
    keywords: &[("enum", Shape::Strings { at_least: 1, unique: true }), ("enumTitles", TEXTS)],
};

const BOOLEAN: Kind = Kind {
    editors: &["checkbox", "hidden"],
    needs_editor: false,
    secret_editors: &[],
    needed: &[],
    keywords: &[("groupCaption", Shape::Text), ("groupDescription", Shape::Text)],
};

const INTEGER: Kind = Kind {
    editors: &["number", "hidden"],
    needs_editor: false,
    secret_editors: &[],
    needed: &[],
    keywords: &[("minimum", Shape::Int), ("maximum", Shape::Int), ("unit", Shape::Text)],
};

const NUMBER: Kind =
    Kind { keywords: &[("minimum", Shape::Number), ("maximum", Shape::Number), ("unit", Shape::Text)], ..INTEGER };

const OBJECT: Kind = Kind {
    editors: &["json", "proxy", "schemaBased", "hidden"],
    needs_editor: true,
    secret_editors: &["json", "hidden"],
    needed: &[],
    keywords: &[
        ("properties", Shape::Object),
        ("required", NAMES),
        ("additionalProperties", Shape::Bool),
        ("minProperties", Shape::Int),
        ("maxProperties", Shape::Int),
        ("patternKey", Shape::Text),
        ("patternValue", Shape::Text),
    ],
};

const ARRAY: Kind = Kind {
    editors: &[
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
    needs_editor: true,
    secret_editors: &["json", "hidden"],
    needed: &[],
    keywords: &[
        ("items", Shape::Object),
        ("minItems", Shape::Int),
        ("maxItems", Shape::Int),
        ("uniqueItems", Shape::Bool),
        ("placeholderKey", Shape::Text),
        ("placeholderValue", Shape::Text),
        ("patternKey", Shape::Text),
        ("patternValue", Shape::Text),
    ],
};

const RESOURCE_TYPES: &[&str] = &["dataset", "keyValueStore", "requestQueue", "mcpConnector"];

const RESOURCE: Kind = Kind {
    editors: &["resourcePicker", "textfield", "hidden"],
    needs_editor: false,
    secret_editors: &[],
    needed: &[],
    keywords: &[
        ("resourceType", Shape::OneOf(RESOURCE_TYPES)),
        ("resourcePermissions", Shape::Permissions),
        ("pattern", Shape::Text),
        ("minLength", Shape::Int),
        ("maxLength", Shape::Int),
    ],
};

const RESOURCES: Kind = Kind {
    editors: &["resourcePicker", "hidden"],
    needs_editor: false,
    secret_editors: &[],
    needed: &[],
    keywords: &[
        ("resourceType", Shape::OneOf(RESOURCE_TYPES)),
        ("resourcePermissions", Shape::Permissions),
        ("items", Shape::Object),
        ("minItems", Shape::Int),
        ("maxItems", Shape::Int),
        ("uniqueItems", Shape::Bool),
    ],
};

const ANY: Kind =
    Kind { editors: &["json", "hidden"], needs_editor: true, secret_editors: &[], needed: &[], keywords: &[] };

/// Tells the first rule that the schema breaks.
pub(super) fn check(schema: &Value) -> Result<(), String> {
    let Some(root) = schema.as_object() else { return Err("Field schema must be object".to_owned()) };
    const ROOT: [(&str, Shape); 8] = [
        ("$schema", Shape::Text),
        ("title", Shape::Text),
        ("schemaVersion", Shape::Int),
        ("description", Shape::Text),
        ("type", Shape::OneOf(&["object"])),
        ("required", NAMES),
        ("additionalProperties", Shape::Bool),
        ("properties", Shape::Object),
    ];
    let name = Named { path: "schema".to_owned(), types: &[] };
    name.keywords(root, &["title", "type", "properties", "schemaVersion"], &[&ROOT])?;
    let version = root["schemaVersion"].as_f64().unwrap_or(0.0);
    if version != 1.0 {
        let bound = if version > 1.0 { "<=" } else { ">=" };
        return Err(format!("Field schema.schemaVersion must be {bound} 1"));
    }

    let properties = root["properties"].as_object();
    for (key, field) in properties.into_iter().flatten() {
        let path = format!("schema.properties.{key}");
        fields_inside(field, &path)?;
        check_field(field, &path, true)?;
    }
    let required = root.get("required").and_then(Value::as_array);
    for key in required.into_iter().flatten().filter_map(Value::as_str) {
        if !properties.is_some_and(|properties| properties.contains_key(key)) {
            return Err(format!(
                "Field schema.properties.{key} does not exist, but it is specified in schema.required. \
                 Either define the field or remove it from schema.required."
            ));
        }
    }
    Ok(())
}

/// Checks the fields inside an object or an array first: what is wrong deepest is told best.
fn fields_inside(field: &Value, path: &str) -> Result<(), String> {
    if field["type"] == "object" {
        for (key, inner) in field["properties"].as_object().into_iter().flatten() {
            let path = format!("{path}.{key}");
            fields_inside(inner, &path)?;
            check_field(inner, &path, false)?;
        }
    } else if field["type"] == "array" {
        fields_inside(&field["items"], &format!("{path}.items"))?;
    }
    Ok(())
}

fn check_field(field: &Value, path: &str, is_root_field: bool) -> Result<(), String> {
    let Some(field) = field.as_object() else { return Err(format!("Field {path} must be object")) };
    let types: Vec<&str> = match field.get("type") {
        Some(Value::String(name)) => vec![name],
        Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    let has = |keyword: &str| field.get(keyword).is_some_and(|value| !value.is_null());
    let is_list = field.get("type").is_some_and(Value::is_array);
    let kind = match types.as_slice() {
        [_, ..] if is_list => {
            if let Some(wrong) = types.iter().find(|name| !ANY_TYPES.contains(name)) {
                return Err(format!("Field {path}.type must not contain \"{wrong}\""));
            }
            &ANY
        }
        ["string"] if has("enum") => &ENUM,
        ["string"] if has("resourceType") => &RESOURCE,
        ["string"] => &STRING,
        ["boolean"] => &BOOLEAN,
        ["integer"] => &INTEGER,
        ["number"] => &NUMBER,
        ["object"] => &OBJECT,
        ["array"] if has("resourceType") => &RESOURCES,
        ["array"] => &ARRAY,
        _ => {
            return Err(format!(
                "Field {path} is not matching any input schema type definition. \
                 Please make sure that it's type is valid."
            ));
        }
    };

    let is_secret = field.get("isSecret") == Some(&Value::Bool(true));
    let editors = if is_secret && !kind.secret_editors.is_empty() { kind.secret_editors } else { kind.editors };
    let mut own = vec![("editor", Shape::OneOf(editors))];
    if !kind.secret_editors.is_empty() && is_root_field {
        own.push(("isSecret", Shape::Bool));
    }
    let mut needed = vec!["title", "description"];
    needed.extend(kind.needed);
    if kind.needs_editor && is_root_field {
        needed.push("editor");
    }
    let root_only: &[_] = if is_root_field { &ROOT_ONLY } else { &[] };
    let name = Named { path: path.to_owned(), types: &types };
    name.keywords(field, &needed, &[&COMMON, root_only, &own, kind.keywords])
}

const ANY_TYPES: [&str; 6] = ["object", "array", "string", "integer", "number", "boolean"];

/// The thing being checked: what to call it, and the types of its values.
struct Named<'a> {
    path: String,
    types: &'a [&'a str],
}

impl Named<'_> {
    /// Checks that what is needed is there, that nothing unknown is, and what each keyword holds.
    fn keywords(
        &self,
        schema: &Map<String, Value>,
        needed: &[&str],
        known: &[&[(&'static str, Shape)]],
    ) -> Result<(), String> {
        let path = &self.path;
        if let Some(missing) = needed.iter().find(|keyword| !schema.contains_key(**keyword)) {
            return Err(format!("Field {path}.{missing} is required"));
        }
        let shape_of = |keyword: &str| known.iter().copied().flatten().find(|(name, _)| *name == keyword);
        if let Some(unknown) = schema.keys().find(|keyword| shape_of(keyword).is_none()) {
            return Err(format!("Property {path}.{unknown} is not allowed."));
        }
        for (keyword, value) in schema {
            let Some((_, shape)) = shape_of(keyword) else { continue };
            if *keyword != "type" || self.types.is_empty() {
                let nullable = schema.get("nullable") == Some(&Value::Bool(true));
                self.shape(*shape, value, nullable).map_err(|why| format!("Field {path}.{keyword} {why}"))?;
            }
        }
        Ok(())
    }

    fn shape(&self, shape: Shape, value: &Value, nullable: bool) -> Result<(), String> {
        let must_be = |name: &str| if is_of_type(value, name) { Ok(()) } else { Err(format!("must be {name}")) };
        match shape {
            Shape::Text => must_be("string"),
            Shape::Bool => must_be("boolean"),
            Shape::Int => must_be("integer"),
            Shape::Number => must_be("number"),
            Shape::Object => must_be("object"),
            Shape::Strings { at_least, unique } => {
                must_be("array")?;
                let list = value.as_array().map(Vec::as_slice).unwrap_or_default();
                if list.len() < at_least {
                    return Err(format!("must NOT have fewer than {at_least} items"));
                }
                if unique && let Some((later, earlier)) = find_duplicates(list) {
                    return Err(format!(
                        "must NOT have duplicate items (items ## {later} and {earlier} are identical)"
                    ));
                }
                if list.iter().all(Value::is_string) {
                    Ok(())
                } else {
                    Err("must have only strings as items".to_owned())
                }
            }
            Shape::Permissions if *value == json!(["READ"]) || *value == json!(["READ", "WRITE"]) => Ok(()),
            Shape::Permissions => Err("must be [\"READ\"] or [\"READ\", \"WRITE\"]".to_owned()),
            Shape::Default if value.is_null() && nullable => Ok(()),
            Shape::Own | Shape::Default => {
                if self.types.iter().any(|name| is_of_type(value, name)) {
                    return Ok(());
                }
                Err(format!("must be {}", self.types.join(",")))
            }
            Shape::OneOf(allowed) if allowed.contains(&value.as_str().unwrap_or_default()) => Ok(()),
            Shape::OneOf(allowed) => {
                let allowed = allowed.join("\", \"");
                Err(format!("must be equal to one of the allowed values: \"{allowed}\""))
            }
        }
    }
}
