//! Entries as rows of a table (`X5`).

use std::borrow::Cow;
use std::collections::HashMap;
use std::io;

use model::item_view::MAX_FIELD_PATH_CHARS;
use model::raw_json::{JsonError, MAX_DEPTH, RawString, Scanner};

use super::malformed;

/// Above this many the paths that were seen are forgotten; only very long keys, cut to the same paths, make so many.
const MAX_NODES: usize = 1 << 16;
/// Elements of an array whose nodes are found by index.
const MAX_ELEMENTS: usize = 1 << 12;
const ROOT: usize = 0;

/// Takes entries apart into the cells of known columns.
///
/// The way to each value is followed in a tree of the names that led to columns before. Entries of a dataset mostly look
/// alike, so each name is expected where the last entry had it and needs one comparison.
#[derive(Debug)]
pub(super) struct Table {
    columns: Vec<String>,
    /// Where each column is.
    places: HashMap<String, usize>,
    sorted: Vec<String>,
    nodes: Vec<Node>,
    /// Where the value of each column is in the current entry; nothing if it is empty.
    cells: Vec<(u32, u32)>,
    /// The number of the current entry.
    serial: u64,
}

/// What a cell holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cell<'e> {
    /// Nothing, null, `{}` or `[]`.
    Empty,
    Boolean(bool),
    /// As JSON spells it.
    Number(&'e str),
    Text(Text<'e>),
}

/// A JSON string with its quotes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Text<'e>(&'e str);

/// A place in entries that is a column or leads to some.
#[derive(Debug, Default)]
struct Node {
    path: String,
    column: Option<usize>,
    /// The last entry that had it.
    seen: u64,
    /// The keys below it, as they were spelled at first, in the order in which they were met.
    members: Vec<(Box<str>, usize)>,
    by_name: HashMap<Box<str>, usize>,
    /// The nodes of the first elements, where they are known; `None` leads nowhere.
    elements: Vec<Option<usize>>,
    more_elements: HashMap<usize, usize>,
}

impl Table {
    pub(super) fn new(columns: Vec<String>) -> Self {
        let places = columns.iter().enumerate().map(|(at, column)| (column.clone(), at)).collect();
        let mut sorted = columns.clone();
        sorted.sort_unstable();
        let cells = vec![(0, 0); columns.len()];
        Self { columns, places, sorted, nodes: vec![Node::default()], cells, serial: 0 }
    }

    /// The paths of the columns.
    pub(super) fn columns(&self) -> &[String] {
        &self.columns
    }

    /// Finds the cells of an entry, one for each column.
    pub(super) fn row<'e>(&mut self, entry: &'e [u8]) -> io::Result<impl Iterator<Item = Cell<'e>>> {
        let text = std::str::from_utf8(entry).map_err(io::Error::other)?;
        u32::try_from(text.len()).map_err(|_| io::Error::from(io::ErrorKind::FileTooLarge))?;
        if self.nodes.len() > MAX_NODES {
            self.nodes = vec![Node::default()];
        }
        self.serial += 1;
        self.cells.fill((0, 0));
        if !self.columns.is_empty() {
            self.value(&mut Scanner::new(text), ROOT, 0).map_err(malformed)?;
        }
        Ok(self.cells.iter().map(|&(from, to)| Cell::of(&text[from as usize..to as usize])))
    }

    fn value(&mut self, scanner: &mut Scanner<'_>, node: usize, depth: u32) -> Result<(), JsonError> {
        let mut first = true;
        let start = scanner.position();
        match scanner.peek() {
            Some(b'{') if depth <= MAX_DEPTH => {
                scanner.open(b'{')?;
                let mut expected = 0;
                while let Some(key) = scanner.next_key(first)? {
                    first = false;
                    let below = self.member(node, key, &mut expected);
                    self.visit(scanner, below, depth)?;
                }
            }
            Some(b'[') if depth <= MAX_DEPTH => {
                scanner.open(b'[')?;
                let mut index = 0;
                while scanner.next_element(first)? {
                    first = false;
                    let below = self.element(node, index);
                    self.visit(scanner, below, depth)?;
                    index += 1;
                }
            }
            _ => {
                let is_null = scanner.peek() == Some(b'n');
                scanner.value()?;
                first = false;
                self.set(node, if is_null { (0, 0) } else { (start, scanner.position()) });
            }
        }
        if first {
            self.set(node, (0, 0));
        }
        Ok(())
    }

    fn visit(&mut self, scanner: &mut Scanner<'_>, below: Option<usize>, depth: u32) -> Result<(), JsonError> {
        let Some(below) = below else {
            scanner.value()?;
            return Ok(());
        };
        if std::mem::replace(&mut self.nodes[below].seen, self.serial) == self.serial {
            // The key came before in the same object, and the last one wins (D5).
            self.clear(below);
        }
        self.value(scanner, below, depth + 1)
    }

    fn set(&mut self, node: usize, (from, to): (usize, usize)) {
        if let Some(column) = self.nodes[node].column {
            // The length of the entry was checked.
            let at = |at| u32::try_from(at).unwrap_or_default();
            self.cells[column] = (at(from), at(to));
        }
    }

    fn clear(&mut self, node: usize) {
        let mut rest = vec![node];
        while let Some(node) = rest.pop() {
            let node = &self.nodes[node];
            if let Some(column) = node.column {
                self.cells[column] = (0, 0);
            }
            rest.extend(node.members.iter().map(|(_, below)| below));
            rest.extend(node.elements.iter().flatten().chain(node.more_elements.values()));
        }
    }

    /// The node of a key, which is most likely the one after that of the key before.
    fn member(&mut self, node: usize, key: RawString<'_>, expected: &mut usize) -> Option<usize> {
        let parent = &self.nodes[node];
        if let Some((quoted, below)) = parent.members.get(*expected)
            && **quoted == *key.quoted()
        {
            *expected += 1;
            return Some(*below);
        }
        // The same key in another spelling is the same place.
        let name = key.decode();
        if let Some(&at) = parent.by_name.get(&*name) {
            *expected = at + 1;
            return Some(parent.members[at].1);
        }
        let path = self.path_below(node, &name);
        if !self.leads_to_columns(&path) {
            return None;
        }
        let below = self.add(path);
        let parent = &mut self.nodes[node];
        *expected = parent.members.len() + 1;
        parent.by_name.insert(name.into(), parent.members.len());
        parent.members.push((key.quoted().into(), below));
        Some(below)
    }

    fn element(&mut self, node: usize, index: usize) -> Option<usize> {
        if let Some(known) = self.nodes[node].elements.get(index) {
            return *known;
        }
        if let Some(known) = self.nodes[node].more_elements.get(&index) {
            return Some(*known);
        }
        let path = self.path_below(node, &index.to_string());
        let below = self.leads_to_columns(&path).then(|| self.add(path));
        let parent = &mut self.nodes[node];
        if index < MAX_ELEMENTS {
            // Elements come one after the other, so there is none missing in between.
            parent.elements.push(below);
        } else if let Some(below) = below {
            parent.more_elements.insert(index, below);
        }
        below
    }

    fn add(&mut self, path: String) -> usize {
        self.nodes.push(Node { column: self.places.get(&path).copied(), path, ..Node::default() });
        self.nodes.len() - 1
    }

    fn path_below(&self, node: usize, name: &str) -> String {
        let path = &self.nodes[node].path;
        let separator = if node == ROOT { "" } else { "/" };
        path.chars().chain(separator.chars()).chain(name.chars()).take(MAX_FIELD_PATH_CHARS).collect()
    }

    fn leads_to_columns(&self, path: &str) -> bool {
        let below = format!("{path}/");
        let next = self.sorted.partition_point(|column| *column < below);
        self.places.contains_key(path) || self.sorted.get(next).is_some_and(|column| column.starts_with(&below))
    }
}

impl<'e> Cell<'e> {
    fn of(value: &'e str) -> Self {
        match value.as_bytes().first() {
            None => Self::Empty,
            Some(b'"') => Self::Text(Text(value)),
            Some(b't') => Self::Boolean(true),
            Some(b'f') => Self::Boolean(false),
            Some(_) => Self::Number(value),
        }
    }
}

impl<'e> Text<'e> {
    /// The string with its quotes, if what stands between them is what it says.
    pub(super) fn plain(self) -> Option<&'e str> {
        memchr::memchr(b'\\', self.0.as_bytes()).is_none().then_some(self.0)
    }

    /// What the string says.
    pub(super) fn decode(self) -> Cow<'e, str> {
        match self.plain() {
            Some(quoted) => Cow::Borrowed(&quoted[1..quoted.len() - 1]),
            // It was read as a string just now.
            None => Scanner::new(self.0).string().map_or(Cow::Borrowed(""), RawString::decode),
        }
    }
}
