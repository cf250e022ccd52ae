//! Writing less.

use serde::ser::{Error, Serialize, Serializer};
use serde_json::Value;

/// Writes a struct of numbers without those that are 0; whoever reads it takes 0 for what is not there.
pub(crate) fn without_zeros<T: Serialize, S: Serializer>(numbers: &T, serializer: S) -> Result<S::Ok, S::Error> {
    let Value::Object(mut members) = serde_json::to_value(numbers).map_err(S::Error::custom)? else {
        return Err(S::Error::custom("not a struct"));
    };
    members.retain(|_, number| number.as_f64() != Some(0.0));
    members.serialize(serializer)
}

#[cfg(test)]
mod tests {
    use serde::{Deserialize, Serialize};
    use serde_json::json;

    use crate::{RunStats, RunUsage};

    #[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
    struct Figures {
        #[serde(serialize_with = "super::without_zeros")]
        stats: RunStats,
        #[serde(serialize_with = "super::without_zeros")]
        usage: RunUsage,
    }

    #[test]
    fn numbers_that_are_not_zero_are_kept() {
        let stats = RunStats { reboot_count: 2, mem_avg_bytes: 0.5, net_rx_bytes: u64::MAX, ..RunStats::default() };
        let figures = Figures { stats, usage: RunUsage { dataset_writes: 7, ..RunUsage::default() } };

        let text = serde_json::to_string(&figures).unwrap();

        let expected = json!({
            "stats": { "rebootCount": 2, "memAvgBytes": 0.5, "netRxBytes": u64::MAX },
            "usage": { "DATASET_WRITES": 7 },
        });
        assert_eq!(serde_json::from_str::<serde_json::Value>(&text).unwrap(), expected);
        assert_eq!(serde_json::from_str::<Figures>(&text).unwrap(), figures);
        assert_eq!(serde_json::from_str::<Figures>(r#"{"stats":{},"usage":{}}"#).unwrap(), Figures::default());
    }
}
