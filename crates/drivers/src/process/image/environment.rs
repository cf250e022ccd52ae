//! What package managers need of the host during a build: proxies, certificates, registries, caches.
//!
//! Nothing of it gets into an image.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt, lchown};
use std::path::{Path, PathBuf};

use super::toolchain::is_shown;
use crate::process::sandbox::{Bind, owner};

/// A directory below the private `/tmp` of a build step that never becomes part of a layer.
pub(super) const PRIVATE: &str = ".playhouse";

/// Where `npm install -g` installs; its `bin` is on the `PATH` of images for Node.js.
pub(super) const NPM_PREFIX: &str = "/opt/npm";

/// What build steps get besides the image's own environment.
#[derive(Clone, Debug)]
pub(super) struct BuildEnvironment {
    /// Below the image's `ENV`.
    pub(super) env: BTreeMap<String, String>,
    pub(super) binds: Vec<Bind>,
    /// Settings of the host's user, by their name in [`PRIVATE`]. Copied, since the command may not read the originals.
    files: Vec<(&'static str, PathBuf)>,
}

/// Passed on as they are.
const PASSED: [&str; 32] = [
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "all_proxy",
    "no_proxy",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "NODE_EXTRA_CA_CERTS",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "GIT_SSL_CAINFO",
    "PIP_CERT",
    "PIP_CLIENT_CERT",
    "PIP_INDEX_URL",
    "PIP_EXTRA_INDEX_URL",
    "PIP_TRUSTED_HOST",
    "PIP_FIND_LINKS",
    "PIP_NO_INDEX",
    "PIP_PROXY",
    "PIP_DEFAULT_TIMEOUT",
    "PIP_TIMEOUT",
    "PIP_RETRIES",
    "PIP_CONSTRAINT",
    "PIP_ONLY_BINARY",
    "PIP_PREFER_BINARY",
    "UV_INDEX_URL",
    "UV_DEFAULT_INDEX",
    "UV_EXTRA_INDEX_URL",
    "UV_FIND_LINKS",
];

/// Read by the builder itself.
const FOR_BUILDER: [&str; 7] =
    ["PATH", "HOME", "NVM_DIR", "PYENV_ROOT", "NPM_CONFIG_USERCONFIG", "npm_config_userconfig", "PIP_CONFIG_FILE"];

/// npm's settings that say where things are on the host, or that npm itself leaves behind in what it starts.
const NOT_PASSED: [&str; 12] = [
    "cache",
    "prefix",
    "userconfig",
    "globalconfig",
    "global_prefix",
    "local_prefix",
    "node_gyp",
    "user_agent",
    "npm_version",
    "init_module",
    "noproxy",
    "global",
];

impl BuildEnvironment {
    /// Reads the environment and the settings of this process's user. Package caches are kept in `cache`.
    ///
    /// # Errors
    /// Of the file system, about `cache`.
    pub(super) fn of_host(cache: &Path) -> io::Result<Self> {
        Self::of(&host_environment().into_iter().collect(), cache)
    }

    fn of(vars: &BTreeMap<String, String>, cache: &Path) -> io::Result<Self> {
        let mut env: BTreeMap<String, String> = vars
            .iter()
            .filter(|(name, _)| is_passed(name))
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        let mut files = Vec::new();
        let home = vars.get("HOME").map(PathBuf::from);
        let below_home = |path: &str| home.as_ref().map(|home| home.join(path));
        let named = |name: &str| vars.get(name).map(PathBuf::from);

        let npmrc = [named("NPM_CONFIG_USERCONFIG"), named("npm_config_userconfig"), below_home(".npmrc")];
        if let Some(file) = npmrc.into_iter().flatten().find(|file| file.is_file()) {
            files.push(("npmrc", file));
            // The user's own place stays free, as steps write their own settings to it.
            env.insert("NPM_CONFIG_GLOBALCONFIG".into(), inside("npmrc"));
        }
        let pip = [named("PIP_CONFIG_FILE"), below_home(".config/pip/pip.conf"), below_home(".pip/pip.conf")];
        if let Some(file) = pip.into_iter().flatten().find(|file| file.is_file()) {
            files.push(("pip.conf", file));
            env.insert("PIP_CONFIG_FILE".into(), inside("pip.conf"));
        }

        let mut binds = Vec::new();
        let texts = files.iter().filter_map(|(_, file)| fs::read_to_string(file).ok());
        for text in env.values().cloned().chain(texts) {
            add_named_paths(&text, &mut binds);
        }
        for (name, variable) in [("npm", "NPM_CONFIG_CACHE"), ("pip", "PIP_CACHE_DIR")] {
            binds.push(Bind { source: own_dir(&cache.join(name))?, target: inside(name).into(), writable: true });
            env.insert(variable.into(), inside(name));
        }
        for (name, value) in [
            ("NPM_CONFIG_PREFIX", NPM_PREFIX),
            ("NPM_CONFIG_UPDATE_NOTIFIER", "false"),
            ("PIP_DISABLE_PIP_VERSION_CHECK", "1"),
            ("PIP_ROOT_USER_ACTION", "ignore"),
            ("LANG", "C.UTF-8"),
        ] {
            env.insert(name.into(), value.into());
        }
        Ok(Self { env, binds, files })
    }

    /// Puts the settings into the private `/tmp` of a step, `tmp`.
    ///
    /// # Errors
    /// Of the file system.
    pub(super) fn furnish(&self, tmp: &Path) -> io::Result<()> {
        let dir = own_dir(&tmp.join(PRIVATE))?;
        for (name, file) in &self.files {
            let copy = dir.join(name);
            fs::write(&copy, fs::read(file)?)?;
            fs::set_permissions(&copy, fs::Permissions::from_mode(0o400))?;
            give(&copy)?;
        }
        Ok(())
    }
}

/// What the process that carries out a build needs of the server's environment: where toolchains and the user's
/// settings are, and what is passed on to package managers.
pub fn host_environment() -> Vec<(String, String)> {
    let vars =
        std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    vars.filter(|(name, _)| FOR_BUILDER.contains(&name.as_str()) || is_passed(name)).collect()
}

/// Makes a directory that commands in a sandbox may write to.
pub(super) fn own_dir(dir: &Path) -> io::Result<PathBuf> {
    fs::create_dir_all(dir)?;
    fs::set_permissions(dir, fs::Permissions::from_mode(0o755))?;
    give(dir)?;
    Ok(dir.to_owned())
}

/// Gives a file to the user that commands run as.
pub(super) fn give(path: &Path) -> io::Result<()> {
    match owner() {
        Some((uid, gid)) => lchown(path, Some(uid), Some(gid)),
        None => Ok(()),
    }
}

fn inside(name: &str) -> String {
    format!("/tmp/{PRIVATE}/{name}")
}

fn is_passed(name: &str) -> bool {
    let npm = name.strip_prefix("NPM_CONFIG_").or_else(|| name.strip_prefix("npm_config_"));
    match npm {
        Some(setting) => !NOT_PASSED.iter().any(|not| setting.eq_ignore_ascii_case(not)),
        None => PASSED.contains(&name),
    }
}

/// Adds the files and directories that a setting names and that a sandbox would not show otherwise.
fn add_named_paths(text: &str, binds: &mut Vec<Bind>) {
    for word in text.split(|c: char| c.is_whitespace() || matches!(c, '=' | ':' | ',' | '"' | '\'')) {
        // What is left of `file:///x` once it is split at the colon begins with more than one slash.
        let word = word.strip_prefix("//").unwrap_or(word);
        let path = Path::new(word);
        let depth = path.components().count();
        // Nothing as large as `/home` is shown because of a setting.
        if path.is_absolute()
            && depth > 2
            && !is_shown(path)
            && path.exists()
            && !binds.iter().any(|bind| bind.source == path)
        {
            binds.push(Bind { source: path.to_owned(), target: path.to_owned(), writable: false });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_package_managers_need_gets_into_a_build() {
        let dir = tempfile::tempdir().unwrap();
        let home = dir.path().join("home");
        let certificate = home.join("ca.pem");
        fs::create_dir_all(&home).unwrap();
        fs::write(&certificate, "").unwrap();
        fs::write(home.join(".npmrc"), format!("registry=https://example.org/\ncafile={}\n", certificate.display()))
            .unwrap();
        let vars = [
            ("HOME", home.to_str().unwrap()),
            ("PATH", "/secret/bin"),
            ("AWS_SECRET_ACCESS_KEY", "secret"),
            ("HTTPS_PROXY", "http://proxy:1"),
            ("npm_config_registry", "https://example.org"),
            ("npm_config_prefix", "/home/me"),
            ("NODE_EXTRA_CA_CERTS", "/etc/ca.pem"),
        ];
        let vars = vars.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();

        let environment = BuildEnvironment::of(&vars, &dir.path().join("cache")).unwrap();

        let names: Vec<&str> = environment.env.keys().map(String::as_str).collect();
        let expected = [
            "HTTPS_PROXY",
            "LANG",
            "NODE_EXTRA_CA_CERTS",
            "NPM_CONFIG_CACHE",
            "NPM_CONFIG_GLOBALCONFIG",
            "NPM_CONFIG_PREFIX",
            "NPM_CONFIG_UPDATE_NOTIFIER",
            "PIP_CACHE_DIR",
            "PIP_DISABLE_PIP_VERSION_CHECK",
            "PIP_ROOT_USER_ACTION",
            "npm_config_registry",
        ];
        assert_eq!(names, expected);
        assert!(environment.binds.iter().any(|bind| bind.source == certificate && !bind.writable));
        assert!(environment.binds.iter().all(|bind| bind.source != home));

        let tmp = dir.path().join("tmp");
        environment.furnish(&tmp).unwrap();
        assert!(fs::read_to_string(tmp.join(PRIVATE).join("npmrc")).unwrap().starts_with("registry="));
    }
}
