//! Keeps secret values out of a stream of bytes.

use memchr::memmem::Finder;

const MASK: &[u8] = b"*****";

/// Replaces every occurrence of a secret with `*****`, also where it is cut by a chunk's border.
///
/// Bytes that may be the beginning of a secret are held back until the next chunk tells.
#[derive(Debug, Default)]
pub(super) struct Masker {
    /// The longest first, so that it wins over those that it begins with.
    secrets: Vec<Finder<'static>>,
    held: Vec<u8>,
    masked: Vec<u8>,
}

impl Masker {
    pub(super) fn new(secrets: &[String]) -> Self {
        let mut secrets: Vec<&String> = secrets.iter().filter(|secret| !secret.trim().is_empty()).collect();
        secrets.sort_by(|a, b| b.len().cmp(&a.len()).then(a.cmp(b)));
        secrets.dedup();
        let secrets = secrets.into_iter().map(|secret| Finder::new(secret.as_bytes()).into_owned()).collect();
        Self { secrets, ..Self::default() }
    }

    /// Takes the next bytes and returns what is safe to show.
    pub(super) fn push<'a>(&'a mut self, chunk: &'a [u8]) -> &'a [u8] {
        if self.secrets.is_empty() {
            return chunk;
        }
        self.held.extend_from_slice(chunk);
        self.mask(true);
        &self.masked
    }

    /// Whether nothing is held back.
    #[cfg(feature = "docker")]
    pub(super) fn is_settled(&self) -> bool {
        self.held.is_empty()
    }

    /// Returns what was held back; no bytes follow.
    pub(super) fn finish(&mut self) -> &[u8] {
        self.mask(false);
        &self.masked
    }

    /// Moves `held` to `masked`, up to the first byte that may begin a secret if `more` bytes can follow.
    fn mask(&mut self, more: bool) {
        self.masked.clear();
        let mut done = 0;
        // Where each secret is found next; kept over the rounds, so that a text full of one secret is not searched for
        // the others again and again.
        let mut found: Vec<Option<usize>> = self.secrets.iter().map(|secret| secret.find(&self.held)).collect();
        loop {
            let text = &self.held[done..];
            let doubtful = done + if more { self.first_beginning(text) } else { text.len() };
            for (secret, found) in self.secrets.iter().zip(&mut found) {
                if found.is_some_and(|start| start < done) {
                    *found = secret.find(text).map(|start| done + start);
                }
            }
            let lens = self.secrets.iter().map(|secret| secret.needle().len());
            let next = found.iter().zip(lens).filter_map(|(start, len)| Some(((*start)?, len)));
            match next.min_by_key(|(start, len)| (*start, usize::MAX - len)) {
                // A secret that starts at or after a doubtful byte may turn out to be part of a longer one.
                Some((start, len)) if start < doubtful => {
                    self.masked.extend_from_slice(&self.held[done..start]);
                    self.masked.extend_from_slice(MASK);
                    done = start + len;
                }
                _ => {
                    self.masked.extend_from_slice(&self.held[done..doubtful]);
                    done = doubtful;
                    break;
                }
            }
        }
        self.held.drain(..done);
    }

    /// Where in `text` the longest tail starts that is the beginning of a secret, but not a whole one; its length if there is none.
    fn first_beginning(&self, text: &[u8]) -> usize {
        let longest_tail = |secret: &[u8]| {
            let longest = text.len().min(secret.len() - 1);
            (1..=longest).rev().find(|len| text.ends_with(&secret[..*len])).unwrap_or(0)
        };
        let held = self.secrets.iter().map(|secret| longest_tail(secret.needle())).max();
        text.len() - held.unwrap_or(0)
    }
}
