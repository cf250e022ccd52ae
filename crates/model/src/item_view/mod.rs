//! How dataset items are shown: what a reader may ask to have picked, dropped, unwound or flattened (`D20`-`D40`).
//!
//! An [`ItemView`] is the wish, a [`Transform`] carries it out on one stored item after the other. Items are never parsed
//! deeper than the wish reaches; values that it does not touch keep their bytes.

mod field_paths;
mod object;
mod transform;

#[cfg(test)]
mod tests;

pub use field_paths::{FieldCollector, MAX_FIELD_PATH_CHARS, MAX_FIELD_PATHS, Shape};
pub use transform::{Entries, MalformedItem, Next, Transform};

/// What a reader of a dataset asked for: a window of stored items and what becomes of each of them.
///
/// An empty list and `None` mean "not asked for", so that a view of the dataset's schema can fill them (`D39`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ItemView {
    /// Newest first; taken before the window (`D20`).
    pub desc: Option<bool>,
    /// Stored items to skip (`D21`).
    pub offset: Option<u64>,
    /// Stored items to show at most; zero is no limit (`G4`).
    pub limit: Option<u64>,
    /// Drops items with a truthy `errorInfo`.
    pub skip_failed_pages: bool,
    /// Emulates what the first version of the platform returned: `url` and `errorInfo` beside the unwound `pageFunctionResult`.
    pub simplified: bool,
    /// Drops top-level keys that start with `#`.
    pub skip_hidden: bool,
    /// Drops entries that have no keys in the end.
    pub skip_empty: bool,
    /// Both of the former (`D30`).
    pub clean: bool,
    /// Properties to unwind, one after the other (`D31`-`D34`).
    pub unwind: Vec<String>,
    /// Properties to flatten (`D35`).
    pub flatten: Vec<String>,
    /// Properties to keep, in this order.
    pub fields: Vec<String>,
    /// New names for `fields`, by position (`D38`).
    pub output_fields: Vec<String>,
    /// Properties to drop, even if `fields` names them.
    pub omit: Vec<String>,
}

/// A wish that contradicts itself (`D38`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ViewError {
    /// There is nothing to rename.
    #[error("the parameter \"outputFields\" can only be used together with \"fields\"")]
    OutputFieldsWithoutFields,
    /// The names do not pair up.
    #[error(
        "the parameters \"fields\" and \"outputFields\" must have the same number of names, got {fields} and {output_fields}"
    )]
    OutputFieldsDiffer {
        /// How many `fields` there are.
        fields: usize,
        /// How many `outputFields` there are.
        output_fields: usize,
    },
}

impl ItemView {
    /// Whether stored items are shown as they are, so that their bytes can be sent without a look.
    ///
    /// The window does not count: it selects items and changes none.
    pub fn is_identity(&self) -> bool {
        let Self { skip_failed_pages, simplified, skip_hidden, skip_empty, clean, .. } = *self;
        let Self { unwind, flatten, fields, output_fields, omit, .. } = self;
        !(skip_failed_pages || simplified || skip_hidden || skip_empty || clean)
            && [unwind, flatten, fields, output_fields, omit].iter().all(|names| names.is_empty())
    }

    /// Fills what was not asked for from `defaults`, the transformation of a view in the dataset's schema (`D39`).
    #[must_use]
    pub fn or(self, defaults: &Self) -> Self {
        let names = |given: Vec<String>, default: &[String]| if given.is_empty() { default.to_vec() } else { given };
        Self {
            desc: self.desc.or(defaults.desc),
            offset: self.offset.or(defaults.offset),
            limit: self.limit.or(defaults.limit),
            skip_failed_pages: self.skip_failed_pages || defaults.skip_failed_pages,
            simplified: self.simplified || defaults.simplified,
            skip_hidden: self.skip_hidden || defaults.skip_hidden,
            skip_empty: self.skip_empty || defaults.skip_empty,
            clean: self.clean || defaults.clean,
            unwind: names(self.unwind, &defaults.unwind),
            flatten: names(self.flatten, &defaults.flatten),
            fields: names(self.fields, &defaults.fields),
            output_fields: names(self.output_fields, &defaults.output_fields),
            omit: names(self.omit, &defaults.omit),
        }
    }

    /// Makes the wish ready to be carried out.
    ///
    /// # Errors
    /// Refuses `output_fields` that do not pair up with `fields`.
    pub fn transform(&self) -> Result<Transform, ViewError> {
        let (fields, output_fields) = (self.fields.len(), self.output_fields.len());
        if output_fields > 0 && fields == 0 {
            return Err(ViewError::OutputFieldsWithoutFields);
        }
        if output_fields > 0 && fields != output_fields {
            return Err(ViewError::OutputFieldsDiffer { fields, output_fields });
        }
        Ok(Transform::new(self))
    }
}
