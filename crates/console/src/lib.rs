//! The pages that links printed by the apify CLI open.
