//! Folders mounted over images, and runs that wait for a debugger.

use std::collections::BTreeMap;
use std::path::Path;

use drivers::Mount;
use model::{DebugMode, Development};

/// Where runs see [`SITE`].
const DEBUG_DIR: &str = "/opt/playhouse-debug";

/// Opens Node's inspector and waits, in whatever program is not a package manager.
const NODE: &str = r#"import{open}from"node:inspector";const m=process.argv[1]??"";if(!/(^|[/\\])(npm|npx|yarn|pnpm|corepack)(-cli)?(\.[cm]?js)?$/.test(m)){try{open(+process.env.PLAYHOUSE_DEBUG_NODE_PORT,process.env.PLAYHOUSE_DEBUG_HOST,true)}catch{}}"#;

/// What Python imports before any program: waits for a debugger once, in the first process.
const SITE: &str = r#"import os
import sys

port = os.environ.pop('PLAYHOUSE_DEBUG_PYTHON_PORT', None)
if port and os.path.basename(sys.argv[0] if sys.argv else '') not in ('pip', 'pip3'):
    try:
        import debugpy

        debugpy.listen((os.environ.get('PLAYHOUSE_DEBUG_HOST', '127.0.0.1'), int(port)))
        debugpy.wait_for_client()
    except ImportError:
        print('Not waiting for a debugger: the package debugpy is not installed in the image', flush=True)
"#;

/// What an Actor's development asks of a run.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Asked {
    pub(crate) mounts: Vec<Mount>,
    pub(crate) ports: Vec<u16>,
    pub(crate) env: BTreeMap<String, String>,
    /// Lines for the log.
    pub(crate) said: Vec<String>,
}

/// Reads what is asked. Files that runs need are put below `work_dir`. Blocks.
pub(crate) fn asked(
    development: &Development,
    without_folder: bool,
    has_own_network: bool,
    work_dir: &Path,
) -> std::io::Result<Asked> {
    let mut asked = Asked::default();
    if let Some(folder) = development.folder.as_ref().filter(|_| !without_folder) {
        let source = Path::new(folder);
        // Packages stay the image's, for those of the folder may be made for another system.
        let keeps = if source.join("package.json").exists() { vec!["node_modules".to_owned()] } else { Vec::new() };
        asked.mounts.push(Mount { source: source.to_owned(), target: None, writable: true, keeps });
        asked.said.push(format!("Mounting {folder} over the working directory of the image."));
    }
    if let Some(debug) = development.debug {
        wait_for_debugger(&mut asked, debug, has_own_network, work_dir)?;
    }
    Ok(asked)
}

fn wait_for_debugger(
    asked: &mut Asked,
    debug: DebugMode,
    has_own_network: bool,
    work_dir: &Path,
) -> std::io::Result<()> {
    let mut set = |name: &str, value: String| asked.env.insert(name.to_owned(), value);
    // In a network of its own a run listens to what comes from outside, which is this machine's loopback alone.
    set("PLAYHOUSE_DEBUG_HOST", if has_own_network { "0.0.0.0" } else { "127.0.0.1" }.to_owned());
    if let Some(port) = debug.node_port() {
        let module = NODE.replace('%', "%25").replace(' ', "%20").replace('"', "%22").replace('\\', "%5C");
        set("NODE_OPTIONS", format!("--import=data:text/javascript,{}", module.replace('#', "%23")));
        set("PLAYHOUSE_DEBUG_NODE_PORT", port.to_string());
        asked.ports.push(port);
        asked.said.push(format!("Node waits for a debugger on 127.0.0.1:{port}: attach to continue."));
    }
    if let Some(port) = debug.python_port() {
        let dir = work_dir.join("debug");
        std::fs::create_dir_all(&dir)?;
        std::fs::write(dir.join("sitecustomize.py"), SITE)?;
        set("PYTHONPATH", DEBUG_DIR.to_owned());
        set("PLAYHOUSE_DEBUG_PYTHON_PORT", port.to_string());
        asked.mounts.push(Mount {
            source: dir,
            target: Some(DEBUG_DIR.to_owned()),
            writable: false,
            keeps: Vec::new(),
        });
        asked.ports.push(port);
        asked.said.push(format!("Python waits for a debugger (debugpy) on 127.0.0.1:{port}: attach to continue."));
    }
    asked.ports.dedup();
    Ok(())
}

#[cfg(test)]
mod tests {
    use model::DebugLanguage;

    use super::*;

    #[test]
    fn a_folder_is_mounted_unless_the_run_wants_its_build_alone() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("actor");
        std::fs::create_dir(&folder).unwrap();
        let development = Development { folder: Some(folder.display().to_string()), debug: None };

        let python = asked(&development, false, true, dir.path()).unwrap();
        std::fs::write(folder.join("package.json"), "{}").unwrap();
        let node = asked(&development, false, true, dir.path()).unwrap();

        assert_eq!((&python.mounts[0].source, python.mounts[0].keeps.len()), (&folder, 0));
        assert_eq!(node.mounts[0].keeps, ["node_modules"]);
        assert_eq!(asked(&development, true, true, dir.path()).unwrap(), Asked::default());
    }

    #[test]
    fn each_language_waits_on_its_port() {
        let dir = tempfile::tempdir().unwrap();
        for (language, port, expected) in [
            (DebugLanguage::Auto, None, &[9229, 5678][..]),
            (DebugLanguage::Node, None, &[9229]),
            (DebugLanguage::Python, Some(7000), &[7000]),
        ] {
            let development = Development { folder: None, debug: Some(DebugMode { language, port }) };
            let asked = asked(&development, false, false, dir.path()).unwrap();
            assert_eq!(asked.ports, expected, "{language:?}");
            assert_eq!(asked.env["PLAYHOUSE_DEBUG_HOST"], "127.0.0.1");
            let has_node = asked.env.get("NODE_OPTIONS").is_some_and(|options| !options.contains(' '));
            assert_eq!(has_node, language != DebugLanguage::Python, "{language:?}");
        }
    }
}
