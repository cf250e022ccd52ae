//! The bundled sample: an Actor that needs neither Node nor Python, and a small site for it to crawl, both in this binary.

pub mod crawler;
pub mod site;

use model::{FileFormat, Source, SourceFile};

/// Name of the sample Actor.
pub const ACTOR_NAME: &str = "sample-crawler";

/// The sample Actor's source, as `apify push` would send it.
pub fn source() -> Source {
    let files = [
        (".actor/actor.json", include_str!("actor.json")),
        (".actor/input_schema.json", include_str!("input_schema.json")),
        ("Dockerfile", include_str!("Dockerfile")),
        (
            "README.md",
            "# Sample crawler\n\nVisits the shop that `playhouse demo` serves and stores one item for each book.\n",
        ),
    ];
    let source_files = files
        .into_iter()
        .map(|(name, content)| SourceFile {
            name: name.to_owned(),
            format: Some(FileFormat::Text),
            content: Some(content.to_owned()),
            folder: None,
        })
        .collect();
    Source::SourceFiles { source_files }
}
