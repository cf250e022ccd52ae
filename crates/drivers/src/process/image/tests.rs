//! What `COPY` makes of contexts, layers and links, without a sandbox.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use tempfile::TempDir;

use super::copy::{self, From, Origin, Target};
use super::tree::Dir;
use crate::dockerfile::ignore::Ignore;

/// A context and an image of one layer, both empty at first.
struct Scene {
    dir: TempDir,
    ignore: Ignore,
}

impl Scene {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        for name in ["context", "image", "upper"] {
            fs::create_dir(dir.path().join(name)).unwrap();
        }
        Self { dir, ignore: Ignore::default() }
    }

    fn path(&self, path: &str) -> PathBuf {
        let path = self.dir.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        path
    }

    fn with(self, files: &[&str]) -> Self {
        for file in files {
            match file.split_once(" -> ") {
                Some((link, target)) => symlink(target, self.path(link)).unwrap(),
                None if file.ends_with('/') => fs::create_dir_all(self.path(&format!("{file}x"))).unwrap(),
                None => fs::write(self.path(file), *file).unwrap(),
            }
        }
        self
    }

    fn ignoring(self, text: &str) -> Self {
        Self { ignore: Ignore::parse(text).unwrap(), ..self }
    }

    /// Copies into a layer of its own, and lists what is in it.
    fn copy(&self, sources: &[&str], destination: &str) -> Result<Vec<String>, String> {
        let context = Dir::of(self.dir.path().join("context"));
        let image = Dir::of_layers(&[self.dir.path().join("image")]);
        let origin = Origin { root: &context, ignore: Some(&self.ignore), name: "the build context" };
        let sources: Vec<From> = sources.iter().map(|source| From::Path((*source).into())).collect();
        let items = copy::plan(&origin, &sources, &image, destination, None)?;
        let upper = self.dir.path().join("upper");
        Target::new(&upper, &image, None).put(&items, &mut || false)?;
        let mut found = Vec::new();
        list(&upper, Path::new(""), &mut found);
        Ok(found)
    }
}

/// Files as `path=content`, links as `path -> target`, empty directories as `path/`.
fn list(root: &Path, at: &Path, found: &mut Vec<String>) {
    let mut entries: Vec<_> = fs::read_dir(root.join(at)).unwrap().map(|entry| entry.unwrap()).collect();
    entries.sort_by_key(|entry| entry.file_name());
    if entries.is_empty() && at != Path::new("") {
        found.push(format!("{}/", at.display()));
    }
    for entry in entries {
        let path = at.join(entry.file_name());
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            list(root, &path, found);
        } else if kind.is_symlink() {
            found.push(format!("{} -> {}", path.display(), fs::read_link(entry.path()).unwrap().display()));
        } else {
            let text = fs::read_to_string(entry.path()).unwrap();
            found.push(format!("{}={}", path.display(), text.strip_prefix("context/").unwrap_or(&text)));
        }
    }
}

const FILES: [&str; 8] = [
    "context/package.json",
    "context/package-lock.json",
    "context/src/main.js",
    "context/src/deep/a.js",
    "context/empty/",
    "context/link -> src/main.js",
    "context/src/out -> ../../../../etc/passwd",
    "image/app/old.txt",
];

#[test]
fn files_and_directories_go_where_docker_puts_them() {
    let table: &[(&[&str], &str, &[&str])] = &[
        (&["package.json"], "/app/", &["app/package.json=package.json"]),
        (&["package.json"], "/app", &["app/package.json=package.json"]),
        (&["package.json"], "/new", &["new=package.json"]),
        (&["package.json"], "/new/", &["new/package.json=package.json"]),
        (&["package.json"], "/a/b/c", &["a/b/c=package.json"]),
        (&["/package.json"], "/app/old.txt", &["app/old.txt=package.json"]),
        (&["../../package.json"], "/", &["package.json=package.json"]),
        (&["./src/../package.json"], "/tmp", &["tmp/package.json=package.json"]),
        (&["package.json"], "/usr", &["usr/package.json=package.json"]),
        (&["package*.json"], "/app/", &["app/package-lock.json=package-lock.json", "app/package.json=package.json"]),
        (&["pack[a-z]ge?json"], "/new", &["new=package.json"]),
        (&["s*/main.js"], "/new", &["new=src/main.js"]),
        (&["nothing*"], "/new/", &[]),
        (
            &["src"],
            "/app",
            &["app/deep/a.js=src/deep/a.js", "app/main.js=src/main.js", "app/out -> ../../../../etc/passwd"],
        ),
        (&["src/deep/"], "/new", &["new/a.js=src/deep/a.js"]),
        (&["src/deep", "package.json"], "/new/", &["new/a.js=src/deep/a.js", "new/package.json=package.json"]),
        (&["link"], "/app/", &["app/link=src/main.js"]),
        (&["empty"], "/e", &["e/x/"]),
    ];
    for (sources, destination, expected) in table {
        let scene = Scene::new().with(&FILES);
        let found = scene.copy(sources, destination).unwrap_or_else(|err| panic!("{sources:?} {destination}: {err}"));
        assert_eq!(found, *expected, "{sources:?} {destination}");
    }
}

#[test]
fn what_cannot_be_copied_is_said() {
    let table: &[(&[&str], &str, &str)] = &[
        (&["missing"], "/app/", "missing is not in the build context"),
        (&["package.json/x"], "/app/", "package.json is not a directory"),
        (&["package*.json"], "/new", "must end with /"),
        (&["src", "package.json"], "/new", "must end with /"),
        (&["src"], "/app/old.txt", "not a directory"),
        (&["package.json"], "/app/old.txt/", "not a directory"),
        (&["package.json"], "/app/old.txt/x", "not a directory"),
        (&["[a"], "/app/", "not complete"),
        (&["secret"], "/app/", "leaves it out"),
    ];
    for (sources, destination, part) in table {
        let scene = Scene::new().with(&FILES).with(&["context/secret"]).ignoring("secret");
        let error = scene.copy(sources, destination).unwrap_err();
        assert!(error.contains(part), "{sources:?} {destination}: {error}");
    }
}

#[test]
fn dockerignore_holds_for_everything_that_is_copied() {
    let scene = Scene::new().with(&FILES).with(&["context/node_modules/a/b.js", "context/src/.env"]);
    let scene = scene.ignoring("node_modules\n**/.env\nsrc/deep\n!src/deep/a.js\n*.json\n!package.json\nempty\nlink");

    let expected = [
        "new/package.json=package.json",
        "new/src/deep/a.js=src/deep/a.js",
        "new/src/main.js=src/main.js",
        "new/src/out -> ../../../../etc/passwd",
    ];
    assert_eq!(scene.copy(&["."], "/new/").unwrap(), expected);
}

#[test]
fn a_link_to_an_ignored_file_does_not_reveal_it() {
    let scene = Scene::new().with(&["context/secret", "context/way -> secret"]).ignoring("secret");

    assert!(scene.copy(&["way"], "/new").unwrap_err().contains("leaves it out"));
}

#[test]
fn links_in_the_context_never_lead_out_of_it() {
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("secret"), "secret").unwrap();
    let scene = Scene::new().with(&["context/inside"]);
    let context = scene.dir.path().join("context");
    symlink(outside.path(), context.join("abs")).unwrap();
    symlink("../../../../../../../../etc", context.join("up")).unwrap();
    symlink("loop", context.join("loop")).unwrap();

    for source in ["abs", "abs/secret", "abs/*", "up", "up/passwd", "up/pass*", "loop"] {
        match scene.copy(&[source], "/new/") {
            Ok(found) => assert!(found.is_empty(), "{source}: {found:?}"),
            Err(error) => assert!(error.contains(source.trim_end_matches("/*")), "{source}: {error}"),
        }
    }
}

#[test]
fn links_in_the_image_never_lead_a_copy_out_of_it() {
    let outside = tempfile::tempdir().unwrap();
    let scene = Scene::new().with(&["context/file", "context/tree/abs/file", "image/real/keep"]);
    let image = scene.dir.path().join("image");
    symlink(outside.path(), image.join("abs")).unwrap();
    symlink("../../../../../../../../../../tmp", image.join("up")).unwrap();
    symlink("/real", image.join("within")).unwrap();

    // Links are followed as a command inside the image would follow them.
    let inside = outside.path().strip_prefix("/").unwrap().display().to_string();
    assert_eq!(scene.copy(&["file"], "/within/").unwrap(), ["real/file=file"]);
    let found = scene.copy(&["file"], "/abs/x/").unwrap();
    assert!(found.contains(&format!("{inside}/x/file=file")), "{found:?}");
    let found = scene.copy(&["file"], "/up/here/").unwrap();
    assert!(found.contains(&"tmp/here/file=file".to_owned()), "{found:?}");
    // A directory cannot take the place of a link, and must not be written through it.
    assert!(scene.copy(&["tree"], "/").unwrap_err().contains("not a directory"));
    assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0);
    assert!(!Path::new("/tmp/here").exists());
}

#[test]
fn a_link_copied_first_is_not_written_through_by_the_next_source() {
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("file"), "untouched").unwrap();
    let scene = Scene::new().with(&["context/b/name", "context/d/dir/file"]);
    let context = scene.dir.path().join("context");
    for (link, target) in [("a/name", outside.path().join("file")), ("c/dir", outside.path().to_owned())] {
        fs::create_dir_all(context.join(link).parent().unwrap()).unwrap();
        symlink(target, context.join(link)).unwrap();
    }

    assert_eq!(scene.copy(&["a", "b"], "/new/").unwrap(), ["new/name=b/name"]);
    assert!(scene.copy(&["c", "d"], "/more/").is_err());
    assert_eq!(fs::read_to_string(outside.path().join("file")).unwrap(), "untouched");
}

#[test]
fn modes_are_kept_and_privileges_are_not() {
    let scene = Scene::new().with(&["context/run.sh", "context/dir/a"]);
    let context = scene.dir.path().join("context");
    fs::set_permissions(context.join("run.sh"), fs::Permissions::from_mode(0o6755)).unwrap();
    fs::set_permissions(context.join("dir/a"), fs::Permissions::from_mode(0o400)).unwrap();
    scene.copy(&["."], "/new/").unwrap();

    let mode =
        |path: &str| scene.dir.path().join("upper/new").join(path).metadata().unwrap().permissions().mode() & 0o7777;
    assert_eq!((mode("run.sh"), mode("dir/a")), (0o755, 0o400));
}

#[test]
fn the_fingerprint_of_a_copy_changes_with_what_is_copied_and_nothing_else() {
    let print = |change: &dyn Fn(&Path), destination: &str| {
        let scene = Scene::new().with(&["context/a", "context/b/c"]);
        change(&scene.dir.path().join("context"));
        let context = Dir::of(scene.dir.path().join("context"));
        let image = Dir::of_layers(&[scene.dir.path().join("image")]);
        let origin = Origin { root: &context, ignore: None, name: "the build context" };
        let items = copy::plan(&origin, &[From::Path(".".into())], &image, destination, None).unwrap();
        let mut hash = Sha256::new();
        copy::fingerprint(&items, &mut hash).unwrap();
        hash.finalize()
    };
    let plain = print(&|_| (), "/app/");

    assert_eq!(plain, print(&|_| (), "/app/"));
    assert_eq!(plain, print(&|context| fs::write(context.join("a"), "context/a").unwrap(), "/app/"));
    assert_ne!(plain, print(&|_| (), "/other/"));
    assert_ne!(plain, print(&|context| fs::write(context.join("a"), "x").unwrap(), "/app/"));
    assert_ne!(plain, print(&|context| fs::write(context.join("new"), "").unwrap(), "/app/"));
    let executable =
        |context: &Path| fs::set_permissions(context.join("a"), fs::Permissions::from_mode(0o755)).unwrap();
    assert_ne!(plain, print(&executable, "/app/"));
}
