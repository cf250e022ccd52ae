//! What helps the owner of an Actor to develop it, on the machine of the server; ours, beside the contract.

use serde::{Deserialize, Serialize};

/// How the next runs of an Actor help to develop it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Development {
    /// A folder of the server's machine that runs see in place of their image's working directory.
    #[serde(default)]
    pub folder: Option<String>,
    /// Whether and how runs wait for a debugger.
    #[serde(default)]
    pub debug: Option<DebugMode>,
}

impl Development {
    /// Whether it changes nothing.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// How runs wait for a debugger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DebugMode {
    /// Which programs wait.
    pub language: DebugLanguage,
    /// Port of the loopback; `None` for the language's usual one.
    #[serde(default)]
    pub port: Option<u16>,
}

/// The programs that can wait for a debugger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DebugLanguage {
    /// Whichever it is.
    Auto,
    /// Node.
    Node,
    /// Python, with the package `debugpy`.
    Python,
}

impl DebugMode {
    /// Port for Node, if it waits.
    pub fn node_port(self) -> Option<u16> {
        (self.language != DebugLanguage::Python).then(|| self.port.unwrap_or(9229))
    }

    /// Port for Python, if it waits.
    pub fn python_port(self) -> Option<u16> {
        (self.language != DebugLanguage::Node).then(|| self.port.unwrap_or(5678))
    }
}
