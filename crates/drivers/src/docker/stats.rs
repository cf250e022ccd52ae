//! What a container uses.

use bollard::models::{ContainerMemoryStats, ContainerStatsResponse};

use crate::Usage;

/// Reads an engine's figures.
pub(super) fn usage_of(stats: &ContainerStatsResponse) -> Usage {
    let cpu = stats.cpu_stats.as_ref().and_then(|cpu| cpu.cpu_usage.as_ref()?.total_usage).unwrap_or_default();
    let memory_bytes = stats.memory_stats.as_ref().map(resident).unwrap_or_default();
    let networks = stats.networks.iter().flat_map(|networks| networks.values());
    let sum = |of: fn(&bollard::models::ContainerNetworkStats) -> Option<u64>| {
        networks.clone().filter_map(of).fold(0, u64::saturating_add)
    };
    Usage {
        cpu_micros: cpu / 1000,
        memory_bytes,
        memory_peak_bytes: memory_bytes,
        net_rx_bytes: sum(|network| network.rx_bytes),
        net_tx_bytes: sum(|network| network.tx_bytes),
    }
}

/// Memory without the page cache that can be dropped.
fn resident(memory: &ContainerMemoryStats) -> u64 {
    let cache = memory.stats.as_ref().and_then(|stats| {
        let inactive = stats.get("total_inactive_file").or_else(|| stats.get("inactive_file"));
        inactive.or_else(|| stats.get("cache")).copied()
    });
    memory.usage.unwrap_or_default().saturating_sub(cache.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn page_cache_does_not_count() {
        let memory = |key: &str| ContainerMemoryStats {
            usage: Some(100),
            stats: Some([(key.to_owned(), 30)].into()),
            ..Default::default()
        };
        for key in ["total_inactive_file", "inactive_file", "cache"] {
            assert_eq!(resident(&memory(key)), 70, "{key}");
        }
        assert_eq!(resident(&memory("rss")), 100);
    }
}
