//! The addresses of sources that are fetched: Git repositories, gists and archives (`VER-4` to `VER-6`).

use std::fmt;

/// Where a Git repository is, and what of it is meant.
#[derive(Clone, PartialEq, Eq)]
pub struct GitAddress {
    /// The address as Git takes it, without credentials.
    pub url: String,
    /// The way to it, by the word that Git has for it: `https`, `http`, `git`, `ssh` or `file`.
    pub protocol: &'static str,
    /// User name and password that stood in the address. Never to be shown.
    pub credentials: Option<(String, String)>,
    /// Branch, tag or commit; the repository's default branch if there is none.
    pub reference: Option<String>,
    /// Directory that is the Actor's root; `""` is the whole repository.
    pub directory: String,
}

/// The credentials stay out of logs.
impl fmt::Debug for GitAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { url, reference, directory, .. } = self;
        f.debug_struct("GitAddress")
            .field("url", url)
            .field("reference", reference)
            .field("directory", directory)
            .finish()
    }
}

/// Why an address means no source, in a sentence for the build's log.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// Not the address of a repository.
    #[error("{0:?} is not the address of a Git repository: use https://, http://, ssh://, git://, file:// or a path")]
    NotGit(String),
    /// Not the address of a gist.
    #[error("{0:?} is not the address of a gist: use https://gist.github.com/<user>/<32 hexadecimal digits>")]
    NotGist(String),
    /// Not a name that a branch, tag or commit can have.
    #[error("{0:?} is not the name of a branch, a tag or a commit")]
    NotReference(String),
    /// A directory outside of the repository.
    #[error("the directory {0:?} is not inside the repository")]
    Outside(String),
}

impl GitAddress {
    /// Reads `<url>[#<branch, tag or commit>[:<directory>]]` (`VER-4`). Paths and `user@host:path` are addresses, too.
    ///
    /// # Errors
    /// [`AddressError`] for what Git must not be given.
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        let text = text.trim();
        let (url, fragment) = text.split_once('#').unwrap_or((text, ""));
        let not_git = || AddressError::NotGit(masked_url(url));
        // Git would take it for an option, or for the name of a helper program.
        let is_word = |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-._".contains(&byte));
        let names_helper = url.split_once("::").is_some_and(|(helper, _)| is_word(helper));
        if url.starts_with('-') || names_helper || url.contains(char::is_control) {
            return Err(not_git());
        }
        let (protocol, bare, credentials) = match url.split_once("://") {
            Some((scheme, rest)) => {
                let protocol = match scheme.to_ascii_lowercase().as_str() {
                    "https" => "https",
                    "http" => "http",
                    "git" => "git",
                    "ssh" | "git+ssh" => "ssh",
                    "file" => "file",
                    _ => return Err(not_git()),
                };
                if rest.is_empty() || rest.starts_with('/') != (protocol == "file") || rest.contains(' ') {
                    return Err(not_git());
                }
                match protocol {
                    "https" | "http" => {
                        let (rest, credentials) = without_credentials(rest);
                        (protocol, format!("{protocol}://{rest}"), credentials)
                    }
                    _ => (protocol, url.to_owned(), None),
                }
            }
            None if url.starts_with('/') => ("file", url.to_owned(), None),
            None => match url.split_once(':') {
                Some((host, path)) if !host.is_empty() && !path.is_empty() && !host.contains(['/', ' ']) => {
                    ("ssh", url.to_owned(), None)
                }
                _ => return Err(not_git()),
            },
        };
        let (reference, directory) = fragment.split_once(':').unwrap_or((fragment, ""));
        if !reference.is_empty() && !is_reference(reference) {
            return Err(AddressError::NotReference(reference.to_owned()));
        }
        Ok(Self {
            url: bare,
            protocol,
            credentials,
            reference: (!reference.is_empty()).then(|| reference.to_owned()),
            directory: inner_directory(directory).ok_or_else(|| AddressError::Outside(directory.to_owned()))?,
        })
    }

    /// Reads the address of a gist, `https://gist…/<user>/<hexadecimal digits>`, which is a repository as well (`VER-6`).
    ///
    /// # Errors
    /// [`AddressError`] for anything else.
    pub fn parse_gist(text: &str) -> Result<Self, AddressError> {
        let text = text.trim();
        let (url, fragment) = text.split_once('#').unwrap_or((text, ""));
        let path = url.trim_end_matches('/').trim_end_matches(".git");
        let not_gist = || AddressError::NotGist(masked_url(url));
        let (scheme, rest) = path.split_once("://").ok_or_else(not_gist)?;
        let (host, name) = rest.split_once('/').ok_or_else(not_gist)?;
        let id = name.rsplit('/').next().unwrap_or_default();
        let is_id = (20..=64).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_hexdigit());
        if !matches!(scheme, "https" | "http") || host.is_empty() || !is_id {
            return Err(not_gist());
        }
        let hash = if fragment.is_empty() { "" } else { "#" };
        Self::parse(&format!("{path}.git{hash}{fragment}"))
    }

    /// Whether the reference may be an abbreviated commit, which cannot be asked for by name.
    pub fn may_be_commit(&self) -> bool {
        let hex = |text: &str| (4..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        self.reference.as_deref().is_some_and(hex)
    }
}

/// An address as it may be shown: without credentials, and without the values of its query, which may be signatures.
pub fn masked_url(url: &str) -> String {
    let (address, query) = match url.split_once('?') {
        Some((address, query)) if !query.is_empty() => (address, "?*****"),
        _ => (url, ""),
    };
    let Some((scheme, rest)) = address.split_once("://") else { return format!("{address}{query}") };
    let (bare, credentials) = without_credentials(rest);
    // The user of an ssh address is part of it.
    let user = match (scheme, credentials) {
        (_, None) => String::new(),
        ("ssh" | "git+ssh", Some((user, password))) if password.is_empty() => format!("{user}@"),
        (_, Some(_)) => "*****@".to_owned(),
    };
    format!("{scheme}://{user}{bare}{query}")
}

/// What follows `scheme://`, without the credentials before the host, and these with their escapes resolved.
pub fn without_credentials(rest: &str) -> (String, Option<(String, String)>) {
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let Some(at) = rest[..end].rfind('@') else { return (rest.to_owned(), None) };
    let (user, password) = rest[..at].split_once(':').unwrap_or((&rest[..at], ""));
    (rest[at + 1..].to_owned(), Some((unescaped(user), unescaped(password))))
}

/// Resolves `%41` and the like; what is no escape stays as it is.
fn unescaped(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let escape = match rest {
            [b'%', high, low, ..] => char::from(*high).to_digit(16).zip(char::from(*low).to_digit(16)),
            _ => None,
        };
        match escape.and_then(|(high, low)| u8::try_from(high * 16 + low).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &rest[3..];
            }
            None => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Whether Git takes the text for the name of one thing: no option, no pattern, no range.
fn is_reference(text: &str) -> bool {
    let is_odd = |c: char| c.is_control() || c.is_whitespace() || "~^:?*[\\".contains(c);
    text.len() <= 250
        && !text.starts_with(['-', '+', '/', '.'])
        && !text.ends_with(['/', '.'])
        && !text.contains(is_odd)
        && !text.contains("..")
        && !text.contains("@{")
}

/// A relative path without detours; `None` if it leads out.
fn inner_directory(text: &str) -> Option<String> {
    let mut parts = Vec::new();
    for part in text.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            name if name.contains('\0') => return None,
            name => parts.push(name),
        }
    }
    (text.len() <= 1024).then(|| parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_repositories_are_taken_apart() {
        for (text, url, protocol, reference, directory) in [
            ("https://github.com/a/b", "https://github.com/a/b", "https", None, ""),
            ("https://github.com/a/b.git#main", "https://github.com/a/b.git", "https", Some("main"), ""),
            ("https://h/a.git#feature/x:actors/one/", "https://h/a.git", "https", Some("feature/x"), "actors/one"),
            ("https://h/a.git#:actors/./one", "https://h/a.git", "https", None, "actors/one"),
            ("HTTPS://h/a", "https://h/a", "https", None, ""),
            ("git@github.com:a/b.git#v1.0", "git@github.com:a/b.git", "ssh", Some("v1.0"), ""),
            ("ssh://git@h:2222/a.git", "ssh://git@h:2222/a.git", "ssh", None, ""),
            ("git://h/a", "git://h/a", "git", None, ""),
            ("file:///srv/a.git#0f3a", "file:///srv/a.git", "file", Some("0f3a"), ""),
            (" /srv/my repo ", "/srv/my repo", "file", None, ""),
            ("http://[::1]:80/a", "http://[::1]:80/a", "http", None, ""),
        ] {
            let address = GitAddress::parse(text).unwrap();

            assert_eq!((address.url.as_str(), address.protocol), (url, protocol), "{text}");
            assert_eq!((address.reference.as_deref(), address.directory.as_str()), (reference, directory), "{text}");
            assert_eq!(address.credentials, None, "{text}");
        }
    }

    #[test]
    fn credentials_are_taken_out_and_never_shown() {
        for (text, url, user, password) in [
            ("https://ada:s%40crat@h/a.git", "https://h/a.git", "ada", "s@crat"),
            ("https://ghp_secret@h:8443/a.git", "https://h:8443/a.git", "ghp_secret", ""),
            ("http://a@b:c%zz@h/x@y", "http://h/x@y", "a@b", "c%zz"),
        ] {
            let address = GitAddress::parse(text).unwrap();

            assert_eq!(address.url, url, "{text}");
            assert_eq!(address.credentials, Some((user.to_owned(), password.to_owned())), "{text}");
            assert!(!format!("{address:?}").contains(user), "{address:?}");
        }
        for (url, masked) in [
            ("https://ada:secret@h/a.zip?signature=x&a=b", "https://*****@h/a.zip?*****"),
            ("https://h/a.zip", "https://h/a.zip"),
            ("https://h/a.zip?", "https://h/a.zip?"),
            ("ssh://git@h/a", "ssh://git@h/a"),
            ("ssh://git:secret@h/a", "ssh://*****@h/a"),
            ("git@h:a/b", "git@h:a/b"),
            ("/srv/a", "/srv/a"),
        ] {
            assert_eq!(masked_url(url), masked);
        }
    }

    #[test]
    fn what_git_must_not_be_given_is_refused() {
        for text in [
            "",
            "a/b",
            "../a",
            "--upload-pack=touch /tmp/x",
            "-x",
            "ext::sh -c date",
            "fd::17",
            "ftp://h/a",
            "https://",
            "https:///a",
            "file://host/a",
            "https://h/a b",
            "https://h/a\nb",
            ":a",
            "#main",
        ] {
            assert!(matches!(GitAddress::parse(text), Err(AddressError::NotGit(_))), "{text:?}");
        }
        for reference in ["-x", "+a", "a..b", "a b", "a^", "a~1", "a*", "@{1}", "a.", "/a", ".a", "a\\b"] {
            let refused = GitAddress::parse(&format!("https://h/a#{reference}"));
            assert!(matches!(refused, Err(AddressError::NotReference(_))), "{reference}: {refused:?}");
        }
        for directory in ["..", "a/../..", "../a"] {
            let refused = GitAddress::parse(&format!("https://h/a#main:{directory}"));
            assert!(matches!(refused, Err(AddressError::Outside(_))), "{directory}");
        }
    }

    #[test]
    fn a_gist_is_a_repository() {
        let id = "0123456789abcdef0123456789abcdef";
        for text in [format!("https://gist.github.com/ada/{id}"), format!("https://gist.github.com/ada/{id}.git/")] {
            assert_eq!(GitAddress::parse_gist(&text).unwrap().url, format!("https://gist.github.com/ada/{id}.git"));
        }
        let pinned = GitAddress::parse_gist(&format!("https://gist.github.com/ada/{id}#abcdef1")).unwrap();
        assert_eq!((pinned.reference.as_deref(), pinned.may_be_commit()), (Some("abcdef1"), true));
        for bad in ["https://gist.github.com/ada", "https://gist.github.com/ada/xyz", id, "file:///ada/0123", ""] {
            assert!(matches!(GitAddress::parse_gist(bad), Err(AddressError::NotGist(_))), "{bad}");
        }
    }
}
