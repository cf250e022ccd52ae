//! What a reader of items asks for (storages, section 5).

use std::collections::HashMap;

use model::item_view::ItemView;
use serde_json::Map;

use super::format::{Feed, Format, Options};
use crate::error::ApiError;
use crate::extract::{FromParams, Params};

/// The parameters of the items endpoint.
#[derive(Clone, Debug)]
pub(crate) struct ItemsParams {
    /// The window and what becomes of each item.
    pub(super) view: ItemView,
    /// A view of the dataset's schema that fills what is not given (`D39`).
    pub(super) named_view: Option<String>,
    /// How items are written; the client's `Accept` decides if this is not given.
    pub(super) format: Option<Format>,
    /// Whether a browser is to save them (`D43`).
    pub(super) attachment: bool,
    /// What is asked of the format.
    pub(super) options: Options,
}

impl FromParams for ItemsParams {
    fn from_params(params: &Params) -> Result<Self, ApiError> {
        let asked = Self {
            view: ItemView {
                desc: params.maybe_flag("desc")?,
                offset: params.number("offset")?,
                limit: params.number("limit")?.filter(|limit| *limit > 0),
                skip_failed_pages: params.flag("skipFailedPages")?,
                simplified: params.flag("simplified")?,
                skip_hidden: params.flag("skipHidden")?,
                skip_empty: params.flag("skipEmpty")?,
                clean: params.flag("clean")?,
                unwind: params.list("unwind"),
                flatten: params.list("flatten"),
                fields: params.list("fields"),
                output_fields: params.list("outputFields"),
                omit: params.list("omit"),
            },
            named_view: params.non_empty("view").map(Into::into),
            format: params.non_empty("format").map(|name| Format::named(&name)).transpose()?,
            attachment: params.flag("attachment")?,
            options: Options {
                bom: params.maybe_flag("bom")?,
                delimiter: params.text("delimiter").map(Into::into),
                skip_header_row: params.flag("skipHeaderRow")?,
                xml_root: params.non_empty("xmlRoot").map(Into::into),
                xml_row: params.non_empty("xmlRow").map(Into::into),
                feed: Feed {
                    title: params.text("feedTitle").unwrap_or_default().into(),
                    description: params.text("feedDescription").unwrap_or_default().into(),
                    link: String::new(),
                },
                titles: HashMap::new(),
                properties: Map::new(),
            },
        };
        // What is wrong is told before a run is started for its items.
        if let Some(format) = asked.format {
            asked.options.check(format)?;
        }
        Ok(asked)
    }
}
