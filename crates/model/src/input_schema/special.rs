//! Checks that no keyword of JSON Schema expresses: proxies, lists of URLs, patterns of keys and values (`INP-15`, `INP-18`).

use serde_json::{Map, Value};

use super::field::Field;
use super::pattern::Pattern;
use super::secrets;
use super::validate::js_text;

/// Positions and keys beyond this many are not listed in a message.
const MAX_LISTED: usize = 1000;

/// Adds what is wrong with the fields of the input, in the order of the schema.
pub(super) fn check(root: &Field, input: &Map<String, Value>, messages: &mut Vec<String>) {
    for (name, field) in root.properties.iter() {
        let Some(value) = input.get(name) else { continue };
        if field.is_secret && secrets::is_encrypted(field.is_text(), value) {
            // The author may have changed the field since; then nobody knows whether the value still fits.
            let secret = root.secret_hashes.iter().find(|(secret, _)| secret == name);
            if secrets::hash_within(value).is_some_and(|hash| secret.is_some_and(|(_, own)| own != hash)) {
                messages.push(format!(
                    "The field schema.properties.{name} is a secret field, but its schema has changed. \
                     Please update the value in the input editor."
                ));
            }
            continue;
        }
        match value {
            Value::Object(object) if field.types == ["object"] => {
                if field.has_editor("proxy") {
                    proxy(name, root.required.iter().any(|required| required == name), object, messages);
                }
                object_patterns(name, field, object, messages);
            }
            Value::Array(items) if field.types == ["array"] => array(name, field, items, messages),
            _ => {}
        }
    }
}

fn proxy(name: &str, required: bool, proxy: &Map<String, Value>, messages: &mut Vec<String>) {
    let use_apify_proxy = proxy.get("useApifyProxy").is_some_and(is_truthy);
    let urls = proxy.get("proxyUrls").and_then(Value::as_array);
    if required && !use_apify_proxy && urls.is_none_or(Vec::is_empty) {
        messages.push(format!("Field input.{name} is required. Please provide custom proxy URLs or use Apify Proxy."));
        return;
    }
    let country = proxy.get("apifyProxyCountry").filter(|country| is_truthy(country)).map(js_text);
    if !use_apify_proxy {
        // Of several bad ones the last is told, as on the platform.
        if let Some(url) = urls.into_iter().flatten().map(js_text).rfind(|url| !is_proxy_url(url.trim())) {
            messages.push(format!(
                "Proxy URL \"{}\" has invalid format, \
                 it must be socks[4|4a|5|5h]|http[s]://[username[:password]]@hostname:port.",
                url.trim()
            ));
        }
        if country.is_some() {
            messages.push("The country for Apify Proxy can be specified only when using Apify Proxy.".to_owned());
        }
        return;
    }
    if let Some(country) = country.filter(|country| !COUNTRIES.split(' ').any(|code| code == country)) {
        messages.push(format!(
            "Country code \"{country}\" is invalid. Only ISO 3166-1 alpha-2 country codes are supported."
        ));
    }
    if let Some(groups) = proxy.get("apifyProxyGroups").filter(|groups| is_truthy(groups))
        && !groups.as_array().is_some_and(|groups| groups.iter().all(Value::is_string))
    {
        messages.push(format!("Field input.{name}.apifyProxyGroups must be an array of strings."));
    }
}

fn array(name: &str, field: &Field, items: &[Value], messages: &mut Vec<String>) {
    let positions = |wrong: &dyn Fn(&Value) -> bool| {
        let wrong = items.iter().enumerate().filter(|(_, item)| wrong(item)).take(MAX_LISTED);
        wrong.map(|(index, _)| index.to_string()).collect::<Vec<_>>().join(",")
    };
    if field.has_editor("requestListSources") {
        let wrong = positions(&|item| !is_request_source(item));
        if !wrong.is_empty() {
            messages.push(format!("Items in input.{name} at positions [{wrong}] do not contain valid URLs"));
        }
    }
    let mut matching = |what: &str, pattern: Option<&Pattern>, part: &dyn Fn(&Value) -> String| {
        let Some(pattern) = pattern else { return };
        let wrong = positions(&|item| !pattern.matches(&part(item)));
        if !wrong.is_empty() {
            let source = pattern.source();
            messages.push(format!(
                "{what} in input.{name} at positions [{wrong}] must match regular expression \"{source}\""
            ));
        }
    };
    // A member that is absent is matched as the text that JavaScript makes of it.
    let member =
        |name: &'static str| move |item: &Value| item.get(name).map_or_else(|| "undefined".to_owned(), js_text);
    if field.has_editor("keyValue") {
        matching("Keys", field.pattern_key.as_ref(), &member("key"));
        matching("Values", field.pattern_value.as_ref(), &member("value"));
    } else if field.has_editor("stringList") {
        matching("Values", field.pattern_value.as_ref(), &js_text);
    }
}

fn object_patterns(name: &str, field: &Field, object: &Map<String, Value>, messages: &mut Vec<String>) {
    let keys = |wrong: &dyn Fn(&str, &Value) -> bool| {
        let wrong = object.iter().filter(|(key, value)| wrong(key, value)).take(MAX_LISTED);
        wrong.map(|(key, _)| key.as_str()).collect::<Vec<_>>().join(",")
    };
    if let Some(pattern) = &field.pattern_key {
        let wrong = keys(&|key, _| !pattern.matches(key));
        if !wrong.is_empty() {
            // The closing quote is missing in the platform's text, too.
            let source = pattern.source();
            messages.push(format!("Keys [{wrong}] in input.{name} must match regular expression \"{source}"));
        }
    }
    if let Some(pattern) = &field.pattern_value {
        let wrong = keys(&|_, value| !value.as_str().is_some_and(|text| pattern.matches(text)));
        if !wrong.is_empty() {
            let source = pattern.source();
            messages.push(format!(
                "Keys [{wrong}] in input.{name} must have string value which matches regular expression \"{source}\""
            ));
        }
    }
}

fn is_request_source(item: &Value) -> bool {
    let given = |name: &str| item.get(name).filter(|url| is_truthy(url));
    let (url, list) = (given("url"), given("requestsFromUrl"));
    (url.is_some() || list.is_some()) && url.is_none_or(is_http_url) && list.is_none_or(is_http_url)
}

fn is_http_url(value: &Value) -> bool {
    let starts_with =
        |text: &str, scheme: &str| text.get(..scheme.len()).is_some_and(|s| s.eq_ignore_ascii_case(scheme));
    value.as_str().is_some_and(|url| starts_with(url, "http://") || starts_with(url, "https://"))
}

fn is_proxy_url(url: &str) -> bool {
    let Some((scheme, rest)) = url.split_once("://") else { return false };
    if !["http", "https", "socks", "socks4", "socks4a", "socks5", "socks5h"].contains(&scheme) {
        return false;
    }
    let authority = rest.strip_suffix('/').unwrap_or(rest);
    let host_and_port = authority.rsplit_once('@').map_or(authority, |(_, host_and_port)| host_and_port);
    let Some((host, port)) = host_and_port.rsplit_once(':') else { return false };
    let is_ipv6 = host.starts_with('[') && host.ends_with(']');
    let is_host = !host.is_empty() && (is_ipv6 || !host.contains([':', '/', ' ']));
    is_host && port.parse::<u16>().is_ok() && port.bytes().all(|digit| digit.is_ascii_digit())
}

/// Whether JavaScript would call the value true.
fn is_truthy(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(value) => *value,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(_) | Value::Object(_) => true,
    }
}

/// ISO 3166-1 alpha-2.
const COUNTRIES: &str = "AD AE AF AG AI AL AM AO AQ AR AS AT AU AW AX AZ BA BB BD BE BF BG BH BI BJ BL BM BN BO BQ BR BS BT \
    BV BW BY BZ CA CC CD CF CG CH CI CK CL CM CN CO CR CU CV CW CX CY CZ DE DJ DK DM DO DZ EC EE EG EH ER ES ET FI FJ FK FM \
    FO FR GA GB GD GE GF GG GH GI GL GM GN GP GQ GR GS GT GU GW GY HK HM HN HR HT HU ID IE IL IM IN IO IQ IR IS IT JE JM JO \
    JP KE KG KH KI KM KN KP KR KW KY KZ LA LB LC LI LK LR LS LT LU LV LY MA MC MD ME MF MG MH MK ML MM MN MO MP MQ MR MS MT \
    MU MV MW MX MY MZ NA NC NE NF NG NI NL NO NP NR NU NZ OM PA PE PF PG PH PK PL PM PN PR PS PT PW PY QA RE RO RS RU RW SA \
    SB SC SD SE SG SH SI SJ SK SL SM SN SO SR SS ST SV SX SY SZ TC TD TF TG TH TJ TK TL TM TN TO TR TT TV TW TZ UA UG UM US \
    UY UZ VA VC VE VG VI VN VU WF WS XK YE YT ZA ZM ZW";
