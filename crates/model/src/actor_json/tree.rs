//! The files of an Actor, wherever they are, and finding one among them.

use std::collections::BTreeMap;

/// The source files of an Actor. Paths start at the Actor's root and have `/` between their parts; the root itself is `""`.
pub trait SourceTree {
    /// The names of the files and directories in a directory; none if there is no such directory.
    fn names(&self, directory: &str) -> Vec<String>;

    /// The size of the file at exactly this path in bytes; `None` if there is none, or a directory.
    fn size(&self, path: &str) -> Option<u64>;

    /// The text of the file at exactly this path, with what is not UTF-8 replaced; `None` if it cannot be read.
    fn read(&self, path: &str) -> Option<String>;
}

/// Finds a file without regard to case and returns its exact path; of several, the one with the exact case wins (`SRC-4`).
pub fn find_file(tree: &impl SourceTree, path: &str) -> Option<String> {
    if tree.size(path).is_some() {
        return Some(path.to_owned());
    }
    let mut found = String::new();
    for part in path.split('/') {
        let names = tree.names(&found);
        let folded = part.to_lowercase();
        let exact = names.iter().find(|name| *name == part);
        let name = exact.or_else(|| names.iter().filter(|name| name.to_lowercase() == folded).min())?;
        if !found.is_empty() {
            found.push('/');
        }
        found.push_str(name);
    }
    tree.size(&found).is_some().then_some(found)
}

/// Follows `path` from the directory `base`; `None` if it leaves the root, or does not start inside it.
pub(super) fn resolve(base: &str, path: &str) -> Option<String> {
    if path.starts_with('/') {
        return None;
    }
    let mut parts: Vec<&str> = base.split('/').filter(|part| !part.is_empty()).collect();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            name => parts.push(name),
        }
    }
    Some(parts.join("/"))
}

/// Files by path, as in the body of a version with `SOURCE_FILES`.
impl SourceTree for BTreeMap<String, String> {
    fn names(&self, directory: &str) -> Vec<String> {
        let prefix = if directory.is_empty() { String::new() } else { format!("{directory}/") };
        let below = self.range(prefix.clone()..).take_while(|(path, _)| path.starts_with(&prefix));
        let names = below.filter_map(|(path, _)| path[prefix.len()..].split('/').next());
        let mut names: Vec<_> = names.map(str::to_owned).collect();
        names.dedup();
        names
    }

    fn size(&self, path: &str) -> Option<u64> {
        self.get(path).map(|text| text.len() as u64)
    }

    fn read(&self, path: &str) -> Option<String> {
        self.get(path).cloned()
    }
}
