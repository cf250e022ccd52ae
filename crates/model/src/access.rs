//! Who may read a resource without owning it.

use serde::{Deserialize, Serialize};

/// The access level of a run or storage (`P1`, `RUN-15`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum GeneralAccess {
    /// What the owner's account says.
    #[default]
    FollowUserSetting,
    /// Only the owner.
    Restricted,
    /// Whoever knows the id.
    AnyoneWithIdCanRead,
    /// Whoever knows the name or the id; storages only.
    AnyoneWithNameCanRead,
}

impl GeneralAccess {
    /// The level in force: this one, or the account's `setting`.
    pub fn or_setting(self, setting: Self) -> Self {
        if self == Self::FollowUserSetting { setting } else { self }
    }

    /// Whether a reference of this form opens the resource for reading by anybody. `self` must be a level in force.
    pub fn is_open(self, by_name: bool) -> bool {
        match self {
            Self::AnyoneWithNameCanRead => true,
            Self::AnyoneWithIdCanRead => !by_name,
            Self::Restricted | Self::FollowUserSetting => false,
        }
    }
}
