//! `.dockerignore`: what of a build context a Dockerfile cannot see.

use super::pattern::Pattern;

/// The rules of a `.dockerignore` file.
#[derive(Clone, Debug, Default)]
pub struct Ignore {
    rules: Vec<Rule>,
}

#[derive(Clone, Debug)]
struct Rule {
    pattern: Pattern,
    /// Begins with `!`: brings back what an earlier rule left out.
    keeps: bool,
}

impl Ignore {
    /// Reads the text of a `.dockerignore`.
    ///
    /// # Errors
    /// The number of the first line with a broken pattern, and what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, (usize, String)> {
        let mut rules = Vec::new();
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        for (index, line) in text.lines().enumerate() {
            if line.starts_with('#') {
                continue;
            }
            let line = line.trim();
            let (keeps, line) = match line.strip_prefix('!') {
                Some(rest) => (true, rest.trim()),
                None => (false, line),
            };
            let cleaned = clean(line);
            if cleaned.is_empty() {
                continue;
            }
            let pattern = Pattern::of_ignore(&cleaned).map_err(|message| (index + 1, message))?;
            rules.push(Rule { pattern, keeps });
        }
        Ok(Self { rules })
    }

    /// Whether `path`, relative to the context and with `/` between names, is left out.
    ///
    /// A rule that fits a directory fits all below it; of the rules that fit, the last one decides.
    pub fn excludes(&self, path: &str) -> bool {
        let mut excluded = false;
        for rule in &self.rules {
            // A rule that would change nothing need not be tried.
            if rule.keeps == excluded && fits_path_or_parent(&rule.pattern, path) {
                excluded = !rule.keeps;
            }
        }
        excluded
    }

    /// Whether something below an excluded directory may be brought back, so that one has to look into it.
    pub fn may_keep_below_excluded(&self) -> bool {
        self.rules.iter().any(|rule| rule.keeps)
    }
}

fn fits_path_or_parent(pattern: &Pattern, path: &str) -> bool {
    let parents = path.match_indices('/').map(|(index, _)| &path[..index]);
    parents.chain([path]).any(|prefix| pattern.matches(prefix))
}

/// Resolves `.` and `..`, and takes slashes off both ends, as `filepath.Clean` does for a path below `/`.
fn clean(text: &str) -> String {
    let mut names: Vec<&str> = Vec::new();
    for name in text.split('/') {
        match name {
            "" | "." => {}
            ".." => {
                names.pop();
            }
            name => names.push(name),
        }
    }
    names.join("/")
}
