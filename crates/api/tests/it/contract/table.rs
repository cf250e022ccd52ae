//! `docs/operations.md` names every operation, and tests that there are.

use std::path::Path;

use super::Contract;

#[test]
fn the_documentation_names_a_test_that_exists_for_every_operation() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let page = std::fs::read_to_string(root.join("docs/operations.md")).expect("docs/operations.md");
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `")?.strip_suffix("` |"));
    let rows: Vec<Vec<&str>> = rows.map(|row| row.split("` | `").collect()).collect();

    let named: Vec<_> = rows.iter().map(|row| (row[0].to_owned(), row[1].to_owned())).collect();
    let operations = Contract::load().operations;
    let expected = operations
        .iter()
        .map(|operation| (operation.id.to_owned(), format!("{} {}", operation.method, operation.path)));
    assert_eq!(named, expected.collect::<Vec<_>>(), "run `cargo xtask operations`");
    for row in rows {
        let (module, name) = row[2].rsplit_once("::").expect("a module and a name");
        let file = root.join("crates/api/tests/it").join(module.replace("::", "/")).with_extension("rs");
        let source = std::fs::read_to_string(&file).unwrap_or_default();
        assert!(
            source.contains(&format!("fn {name}(")),
            "{} is not in {}: run `cargo xtask operations`",
            row[2],
            file.display()
        );
    }
}
