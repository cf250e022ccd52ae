//! `playhouse env`.

use std::io::{ErrorKind, Write as _};

use anyhow::{Context as _, bail};
use clap::Args;

use crate::data_dir::DataDir;

/// Prints export lines and nothing else, so that `eval "$(playhouse env)"` is safe.
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  eval \"$(playhouse env)\"          for this shell\n  playhouse env >> .env            for a file that tools read"
)]
pub struct Env {
    #[command(flatten)]
    target: super::Target,
}

impl Env {
    pub fn run(self) -> anyhow::Result<()> {
        let data_dir = &self.target.data_dir;
        let Some(token) = DataDir::operator_token(data_dir)? else {
            bail!(
                "no server has been started on {} yet: start `playhouse serve`, or name its directory with --data-dir",
                data_dir.display()
            );
        };
        let url = DataDir::url(data_dir)?.context("the server has not answered yet; try again in a moment")?;
        let lines = lines(&url, &token);
        let text = if self.target.json {
            let object: serde_json::Map<_, _> =
                lines.into_iter().map(|(name, value)| (name.to_owned(), value.into())).collect();
            format!("{}\n", serde_json::Value::Object(object))
        } else {
            lines.iter().map(|(name, value)| format!("export {name}={}\n", quoted(value))).collect()
        };
        match std::io::stdout().write_all(text.as_bytes()) {
            // Whoever reads may stop when they have enough.
            Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
            written => Ok(written?),
        }
    }
}

/// What points the official tools at a server: the CLI reads the first two (`CLI-1`), SDKs and the MCP server the third, all of them the token.
pub fn lines(url: &str, token: &str) -> Vec<(&'static str, String)> {
    vec![
        ("APIFY_CLIENT_BASE_URL", url.to_owned()),
        ("APIFY_CONSOLE_URL", url.to_owned()),
        ("APIFY_API_BASE_URL", url.to_owned()),
        ("APIFY_API_PUBLIC_BASE_URL", url.to_owned()),
        ("APIFY_TOKEN", token.to_owned()),
    ]
}

/// A value as a POSIX shell reads it back.
fn quoted(value: &str) -> String {
    let plain = value.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-./:@%+,=".contains(&byte));
    if plain && !value.is_empty() { value.to_owned() } else { format!("'{}'", value.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_survive_a_shell() {
        for value in ["http://localhost:3333", "a'b $(rm) \"c\"", ""] {
            let printed = std::process::Command::new("sh")
                .args(["-c", &format!("v={}; printf %s \"$v\"", quoted(value))])
                .output()
                .unwrap();

            assert_eq!(String::from_utf8(printed.stdout).unwrap(), value);
        }
    }
}
