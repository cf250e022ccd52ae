//! What the contract says about reading items, written as simply as can be: everything in memory, no thought for speed.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

pub type Item = Map<String, Value>;

/// What is asked for.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    pub desc: bool,
    pub offset: usize,
    pub limit: Option<usize>,
    pub skip_failed_pages: bool,
    pub simplified: bool,
    pub skip_hidden: bool,
    pub skip_empty: bool,
    pub clean: bool,
    pub unwind: Vec<String>,
    pub flatten: Vec<String>,
    pub fields: Vec<String>,
    /// Whether the fields get new names.
    pub renamed: bool,
    pub omit: Vec<String>,
    pub skip_header_row: bool,
    pub bom: Option<bool>,
    pub delimiter: Option<char>,
}

impl Asked {
    pub fn query(&self) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.append_pair("offset", &self.offset.to_string());
        if let Some(limit) = self.limit {
            query.append_pair("limit", &limit.to_string());
        }
        for (name, flag) in [
            ("desc", self.desc),
            ("skipFailedPages", self.skip_failed_pages),
            ("simplified", self.simplified),
            ("skipHidden", self.skip_hidden),
            ("skipEmpty", self.skip_empty),
            ("clean", self.clean),
            ("skipHeaderRow", self.skip_header_row),
        ] {
            if flag {
                query.append_pair(name, "1");
            }
        }
        let renamed = if self.renamed { self.names() } else { Vec::new() };
        for (name, list) in [
            ("unwind", &self.unwind),
            ("flatten", &self.flatten),
            ("fields", &self.fields),
            ("outputFields", &renamed),
            ("omit", &self.omit),
        ] {
            if !list.is_empty() {
                query.append_pair(name, &list.join(","));
            }
        }
        if let Some(bom) = self.bom {
            query.append_pair("bom", if bom { "1" } else { "0" });
        }
        if let Some(delimiter) = self.delimiter {
            query.append_pair("delimiter", &delimiter.to_string());
        }
        query.finish()
    }

    /// The fields by the names that they have in the end.
    fn names(&self) -> Vec<String> {
        // Two fields may get the same name.
        let renamed =
            |(at, name): (usize, &String)| if self.renamed { format!("{name}{}", at / 2) } else { name.clone() };
        self.fields.iter().enumerate().map(renamed).collect()
    }

    /// The entries that the stored items become (storages, section 5.2).
    pub fn entries(&self, stored: &[Item]) -> Vec<Item> {
        let mut items = stored.to_vec();
        if self.desc {
            items.reverse();
        }
        let limit = self.limit.filter(|limit| *limit > 0).unwrap_or(usize::MAX);
        let mut entries: Vec<Item> = items.into_iter().skip(self.offset).take(limit).collect();
        if self.skip_failed_pages {
            entries.retain(|item| !item.get("errorInfo").is_some_and(is_truthy));
        }
        if self.simplified {
            let names = ["url", "pageFunctionResult", "errorInfo"].map(str::to_owned);
            entries = entries.iter().map(|item| pick(item, &names, &names)).collect();
            entries = entries.into_iter().flat_map(|item| unwind(item, "pageFunctionResult")).collect();
        }
        if self.skip_hidden || self.clean {
            entries.iter_mut().for_each(|item| item.retain(|name, _| !name.starts_with('#')));
        }
        for name in &self.unwind {
            entries = entries.into_iter().flat_map(|item| unwind(item, name)).collect();
        }
        for name in &self.flatten {
            entries = entries.into_iter().map(|item| flatten(item, name)).collect();
        }
        if !self.fields.is_empty() {
            entries = entries.iter().map(|item| pick(item, &self.fields, &self.names())).collect();
        }
        entries.iter_mut().for_each(|item| item.retain(|name, _| !self.omit.contains(name)));
        if self.skip_empty || self.clean {
            entries.retain(|item| !item.is_empty());
        }
        entries
    }

    pub fn json(&self, stored: &[Item]) -> String {
        let entries: Vec<String> = self.entries(stored).iter().map(text).collect();
        format!("{}[{}]", self.bom_or(false), entries.join(","))
    }

    pub fn jsonl(&self, stored: &[Item]) -> String {
        let lines: String = self.entries(stored).iter().map(|entry| text(entry) + "\n").collect();
        self.bom_or(false).to_owned() + &lines
    }

    pub fn csv(&self, stored: &[Item]) -> String {
        let (columns, rows) = self.table(stored);
        let delimiter = self.delimiter.unwrap_or(',').to_string();
        let mut csv = self.bom_or(true).to_owned();
        if columns.is_empty() {
            return csv;
        }
        let quoted = |text: &String| format!("\"{}\"", text.replace('"', "\"\""));
        if !self.skip_header_row {
            csv += &(columns.iter().map(quoted).collect::<Vec<_>>().join(&delimiter) + "\n");
        }
        for row in rows {
            let cells = row.iter().map(|cell| match cell {
                Value::String(text) => quoted(text),
                Value::Null => String::new(),
                other => other.to_string(),
            });
            csv += &(cells.collect::<Vec<_>>().join(&delimiter) + "\n");
        }
        csv
    }

    pub fn html(&self, stored: &[Item]) -> String {
        let escape =
            |text: &str| text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;");
        let (columns, rows) = self.table(stored);
        let mut html = format!("{}<table>", self.bom_or(false));
        if !columns.is_empty() {
            let titles: String = columns.iter().map(|column| format!("<th>{}</th>", escape(column))).collect();
            html += &format!("<tr>{titles}</tr>");
            for row in rows {
                let cells: String = row
                    .iter()
                    .map(|cell| match cell {
                        Value::String(text) => format!("<td>{}</td>", escape(text)),
                        Value::Null => "<td></td>".to_owned(),
                        other => format!("<td>{other}</td>"),
                    })
                    .collect();
                html += &format!("<tr>{cells}</tr>");
            }
        }
        html + "</table>"
    }

    fn bom_or(&self, default: bool) -> &'static str {
        if self.bom.unwrap_or(default) { "\u{feff}" } else { "" }
    }

    /// Columns and rows (storages, section 6.3). An empty cell is null.
    fn table(&self, stored: &[Item]) -> (Vec<String>, Vec<Vec<Value>>) {
        let entries = self.entries(stored);
        let mut columns: Vec<String> = Vec::new();
        if self.fields.is_empty() {
            let all: BTreeSet<String> =
                entries.iter().flat_map(|entry| leaves(entry).into_iter().map(|(path, _)| path)).collect();
            columns.extend(all);
        } else {
            for name in self.names().iter().filter(|name| !self.omit.contains(name)) {
                let mut below = BTreeSet::new();
                for value in entries.iter().filter_map(|entry| entry.get(name)) {
                    collect(name.clone(), value, &mut |path, _| {
                        below.insert(path);
                    });
                }
                if below.is_empty() {
                    below.insert(name.clone());
                }
                for path in below {
                    if !columns.contains(&path) {
                        columns.push(path);
                    }
                }
            }
        }
        columns.truncate(2000);
        let row = |entry: &Item| {
            let leaves = leaves(entry);
            let cell = |column: &String| {
                let found = leaves.iter().rev().find(|(path, _)| path == column);
                found.map_or(Value::Null, |(_, value)| (*value).clone())
            };
            columns.iter().map(cell).collect()
        };
        let rows = entries.iter().map(row).collect();
        (columns, rows)
    }
}

fn text(entry: &Item) -> String {
    serde_json::to_string(entry).expect("JSON")
}

fn is_truthy(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(value) => *value,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(_) | Value::Object(_) => true,
    }
}

fn pick(item: &Item, names: &[String], renamed: &[String]) -> Item {
    let found =
        names.iter().zip(renamed).filter_map(|(name, renamed)| Some((renamed.clone(), item.get(name)?.clone())));
    let mut picked = Item::new();
    for (name, value) in found {
        picked.insert(name, value);
    }
    picked
}

fn unwind(item: Item, name: &str) -> Vec<Item> {
    let merged = |element: &Item| {
        let mut entry = item.clone();
        entry.shift_remove(name);
        for (key, value) in element {
            entry.insert(key.clone(), value.clone());
        }
        entry
    };
    match item.get(name) {
        Some(Value::Object(object)) => vec![merged(object)],
        Some(Value::Array(elements)) if elements.is_empty() => vec![merged(&Item::new())],
        Some(Value::Array(elements)) => elements
            .iter()
            .map(|element| match element {
                Value::Object(object) => merged(object),
                other => {
                    let mut entry = item.clone();
                    entry.insert(name.to_owned(), other.clone());
                    entry
                }
            })
            .collect(),
        _ => vec![item],
    }
}

fn flatten(item: Item, name: &str) -> Item {
    fn below(path: &str, object: &Item, flat: &mut Item) {
        if object.is_empty() {
            flat.insert(path.to_owned(), Value::Object(Item::new()));
        }
        for (key, value) in object {
            let path = format!("{path}.{key}");
            match value {
                Value::Object(object) => below(&path, object, flat),
                other => {
                    flat.insert(path, other.clone());
                }
            }
        }
    }
    let mut flat = Item::new();
    for (key, value) in item {
        match value {
            Value::Object(object) if key == name => below(name, &object, &mut flat),
            other => {
                flat.insert(key, other);
            }
        }
    }
    flat
}

fn leaves(entry: &Item) -> Vec<(String, &Value)> {
    let mut leaves = Vec::new();
    for (name, value) in entry {
        collect(name.clone(), value, &mut |path, value| leaves.push((path, value)));
    }
    leaves
}

/// Visits every value that holds no others; empty ones count as null.
fn collect<'v>(path: String, value: &'v Value, visit: &mut dyn FnMut(String, &'v Value)) {
    match value {
        Value::Object(object) if !object.is_empty() => {
            object.iter().for_each(|(key, value)| collect(format!("{path}/{key}"), value, visit));
        }
        Value::Array(elements) if !elements.is_empty() => {
            elements.iter().enumerate().for_each(|(at, value)| collect(format!("{path}/{at}"), value, visit));
        }
        Value::Object(_) | Value::Array(_) => visit(path.chars().take(200).collect(), &Value::Null),
        other => visit(path.chars().take(200).collect(), other),
    }
}
