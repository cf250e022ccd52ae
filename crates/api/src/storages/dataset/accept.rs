//! The format that an `Accept` header asks for, if the query names none.

use http::HeaderMap;
use http::header::ACCEPT;

use super::format::Format;

/// The format that the client likes best; JSON if it does not say, or says nothing that there is.
///
/// Browsers accept HTML and XML before anything else, and their users want to see JSON as on the platform: who takes
/// `text/html` and `*/*` alike is taken for a browser.
pub(super) fn preferred(headers: &HeaderMap) -> Format {
    let mut best = (Format::Json, 0.0);
    let (mut has_html, mut has_anything) = (false, false);
    // JSON is what `*/*` and `application/*` stand for, but what is named goes first.
    let mut by_wildcard = 0.0_f32;
    for value in headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok()) {
        for range in value.split(',') {
            let mut parts = range.split(';').map(str::trim);
            let media_type = parts.next().unwrap_or_default().to_ascii_lowercase();
            let quality = parts.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")));
            let quality = quality.map_or(1.0, |quality| quality.trim().parse::<f32>().unwrap_or(0.0).clamp(0.0, 1.0));
            has_html |= media_type == "text/html";
            if media_type == "*/*" || media_type == "application/*" {
                has_anything |= media_type == "*/*";
                by_wildcard = by_wildcard.max(quality);
            } else if let Some(format) = Format::of_media_type(&media_type)
                && quality > best.1
            {
                best = (format, quality);
            }
        }
    }
    if (has_html && has_anything) || by_wildcard > best.1 { Format::Json } else { best.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_liked_format_is_chosen_and_browsers_get_json() {
        for (accept, expected) in [
            ("", Format::Json),
            ("*/*", Format::Json),
            ("text/csv", Format::Csv),
            ("TEXT/CSV; charset=utf-8", Format::Csv),
            ("text/csv, */*", Format::Csv),
            ("text/csv;q=0.5, */*", Format::Json),
            ("text/csv; q=0", Format::Json),
            ("text/csv;q=0.1, application/xml;q=0.2", Format::Xml),
            ("application/json, text/csv", Format::Json),
            ("application/json, text/plain, */*", Format::Json),
            ("application/jsonl", Format::JsonLines),
            ("application/x-ndjson", Format::JsonLines),
            ("application/rss+xml, application/xml;q=0.9", Format::Rss),
            ("text/html", Format::Html),
            ("application/vnd.apache.parquet", Format::Parquet),
            ("application/vnd.apache.arrow.stream;q=0.9", Format::Arrow),
            ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", Format::Json),
            ("image/png, nonsense, ;;q=,", Format::Json),
            ("text/csv;q=many", Format::Json),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT, accept.parse().unwrap());
            assert_eq!(preferred(&headers), expected, "{accept}");
        }
        assert_eq!(preferred(&HeaderMap::new()), Format::Json);
    }
}
