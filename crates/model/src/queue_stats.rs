//! What is in a queue, counted.

use std::collections::HashMap;

/// Hosts that are counted one by one; those that come later go together.
///
/// Requests are counted in the order of their ids, which are hashes: a host of many requests is among the first to come.
const MAX_HOSTS: usize = 20_000;
/// Longest name that a host can have (RFC 1035).
const MAX_HOST: usize = 255;
/// Retries from which on requests are counted together.
const MANY_RETRIES: usize = 100;

/// The state of a request (`Q10`); one that failed is also handled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "as in StateCounts")]
pub enum RequestState {
    Pending,
    Locked,
    Handled,
    Failed,
}

/// Requests by state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StateCounts {
    /// Neither handled nor locked.
    pub pending: u64,
    /// With a live lock.
    pub locked: u64,
    /// Handled, whatever came of it.
    pub handled: u64,
    /// Those of them that were given up on.
    pub failed: u64,
}

/// Counts of requests, in bounded memory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QueueStats {
    all: StateCounts,
    hosts: HashMap<Box<str>, StateCounts>,
    other: StateCounts,
    retries: Vec<u64>,
}

impl StateCounts {
    /// All requests.
    pub fn total(&self) -> u64 {
        self.pending + self.locked + self.handled
    }

    fn count(&mut self, state: RequestState) {
        match state {
            RequestState::Pending => self.pending += 1,
            RequestState::Locked => self.locked += 1,
            RequestState::Handled => self.handled += 1,
            RequestState::Failed => {
                self.handled += 1;
                self.failed += 1;
            }
        }
    }

    fn add(&mut self, more: &Self) {
        self.pending += more.pending;
        self.locked += more.locked;
        self.handled += more.handled;
        self.failed += more.failed;
    }
}

impl QueueStats {
    /// Counts a request.
    pub fn count(&mut self, url: &str, state: RequestState, retries: u32) {
        self.all.count(state);
        let at = usize::try_from(retries).unwrap_or(usize::MAX).min(MANY_RETRIES);
        if self.retries.len() <= at {
            self.retries.resize(at + 1, 0);
        }
        self.retries[at] += 1;

        let host = host_of(url).unwrap_or_default();
        if let Some(counts) = self.hosts.get_mut(host.as_str()) {
            counts.count(state);
        } else if host.is_empty() || self.hosts.len() >= MAX_HOSTS {
            self.other.count(state);
        } else {
            self.hosts.entry(host.into()).or_default().count(state);
        }
    }

    /// All requests by state.
    pub fn all(&self) -> StateCounts {
        self.all
    }

    /// How many requests have had no, one, two … retries; the last of 101 numbers stands for all that had more, too.
    pub fn retries(&self) -> &[u64] {
        &self.retries
    }

    /// The `limit` hosts of most requests, those first, and the sum of all others; there is also what has no host.
    pub fn hosts(&self, limit: usize) -> (Vec<(&str, StateCounts)>, StateCounts) {
        let mut hosts: Vec<_> = self.hosts.iter().map(|(host, counts)| (&**host, *counts)).collect();
        hosts.sort_unstable_by(|(one, more), (another, fewer)| {
            fewer.total().cmp(&more.total()).then_with(|| one.cmp(another))
        });
        let mut other = self.other;
        for (_, counts) in hosts.drain(limit.min(hosts.len())..) {
            other.add(&counts);
        }
        (hosts, other)
    }
}

/// Host of a URL without its port, in lower case; `None` if it has none, or one that cannot be.
pub fn host_of(url: &str) -> Option<String> {
    let (_, rest) = url.split_once("://")?;
    let authority = rest.split(['/', '?', '#', '\\']).next().unwrap_or_default();
    let address = authority.rsplit_once('@').map_or(authority, |(_, address)| address);
    let host = match address.find(']') {
        Some(end) if address.starts_with('[') => &address[..=end],
        _ => address.split(':').next().unwrap_or_default(),
    };
    (1..=MAX_HOST).contains(&host.len()).then(|| host.to_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_of_a_url_is_what_stands_between_user_and_port() {
        for (url, host) in [
            ("https://example.com", Some("example.com")),
            ("HTTP://Example.COM:8080/a@b:c", Some("example.com")),
            ("https://user:p@ss@example.com?x", Some("example.com")),
            ("http://[2001:DB8::1]:80/", Some("[2001:db8::1]")),
            ("https://MÜNCHEN.de#f", Some("münchen.de")),
            ("https:///path", None),
            ("mailto:a@b", None),
            ("", None),
        ] {
            assert_eq!(host_of(url).as_deref(), host, "{url}");
        }
        assert_eq!(host_of(&format!("http://{}/", "a".repeat(300))), None);
    }

    #[test]
    fn requests_are_counted_by_state_host_and_retries() {
        let mut stats = QueueStats::default();
        for (url, state, retries) in [
            ("http://a/1", RequestState::Pending, 0),
            ("http://b/1", RequestState::Locked, 2),
            ("http://b/2", RequestState::Failed, 500),
            ("http://c/1", RequestState::Handled, 100),
            ("nonsense", RequestState::Pending, 0),
        ] {
            stats.count(url, state, retries);
        }

        assert_eq!(stats.all(), StateCounts { pending: 2, locked: 1, handled: 2, failed: 1 });
        assert_eq!((stats.retries()[..3].to_vec(), stats.retries().len()), (vec![2, 0, 1], 101));
        assert_eq!(stats.retries()[100], 2);
        let (hosts, other) = stats.hosts(2);
        assert_eq!(
            hosts.iter().map(|(host, counts)| (*host, counts.total())).collect::<Vec<_>>(),
            [("b", 2), ("a", 1)]
        );
        assert_eq!(other, StateCounts { pending: 1, locked: 0, handled: 1, failed: 0 });
    }

    #[test]
    fn memory_stays_bounded_however_many_hosts_there_are() {
        let mut stats = QueueStats::default();
        for number in 0..MAX_HOSTS + 10 {
            stats.count(&format!("http://h{number}/"), RequestState::Pending, 0);
        }

        assert_eq!(stats.hosts.len(), MAX_HOSTS);
        let (hosts, other) = stats.hosts(usize::MAX);
        assert_eq!((hosts.len(), other.pending), (MAX_HOSTS, 10));
    }
}
