//! What the tests know of the official OpenAPI document: a derived list of facts under `tests/contract`, so that the
//! document itself is needed only to compare with it.

mod derive;
mod table;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use serde_json::Value;

pub use self::table::write as write_table;

/// Derives the facts from `document` and writes them down, or insists that they are those already written down.
pub fn derive(document: &Path, check: bool) -> anyhow::Result<()> {
    let text = std::fs::read_to_string(document).with_context(|| format!("cannot read {}", document.display()))?;
    let document: Value = serde_json::from_str(&text)?;
    let files = [("operations.tsv", derive::operations(&document)?), ("answers.json", derive::answers(&document)?)];
    for (name, derived) in files {
        let path = directory().join(name);
        if !check {
            std::fs::create_dir_all(directory())?;
            std::fs::write(&path, derived)?;
            println!("wrote {}", path.display());
        } else if std::fs::read_to_string(&path)? != derived {
            bail!("{} differs from the document: run this without --check and look at the difference", path.display());
        }
    }
    Ok(())
}

fn directory() -> PathBuf {
    crate::root().join("tests/contract")
}
