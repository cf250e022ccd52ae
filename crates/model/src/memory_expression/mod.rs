//! The memory of a run, computed from its input: `defaultMemoryMbytes` as an expression (`RES-5`).
//!
//! The language is the part of MathJS that the platform allows: numbers, texts, comparisons, `? :`, `??`, a handful of
//! functions and variables. It has no loops, so its cost is bounded by its length.

mod evaluate;
mod parse;

use serde_json::Value;

/// Longer expressions are not looked at.
pub const MAX_EXPRESSION_CHARS: usize = 1000;

/// The least memory of a run, in megabytes (`START-6`).
pub const MIN_MEMORY_MBYTES: u32 = 128;

/// The most memory of a run, in megabytes (`START-6`).
pub const MAX_MEMORY_MBYTES: u32 = 32_768;

/// Evaluates an expression to a memory size in megabytes: a power of two within the bounds of the platform.
///
/// `run_options` are the options as the API spells them (`timeoutSecs`, `maxItems`, ...). `None` when the expression is too
/// long, wrong, or comes to nothing that a size could be made of; the Actor's own default holds then.
pub fn evaluate(expression: &str, input: &Value, run_options: &Value) -> Option<u32> {
    if expression.chars().count() > MAX_EXPRESSION_CHARS {
        return None;
    }
    let program = parse::parse(expression)?;
    let megabytes = evaluate::run(&program, input, run_options)?;
    to_power_of_two(megabytes)
}

/// The power of two that is nearest in a logarithmic scale, within the bounds of the platform.
///
/// `None` for what is no size: zero, negative, infinite or not a number.
pub fn to_power_of_two(megabytes: f64) -> Option<u32> {
    if !megabytes.is_finite() || megabytes <= 0.0 {
        return None;
    }
    let rounded = megabytes.log2().round().exp2();
    // Clamped first, so the conversion is exact.
    Some(rounded.clamp(f64::from(MIN_MEMORY_MBYTES), f64::from(MAX_MEMORY_MBYTES)) as u32)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn evaluated(expression: &str) -> Option<u32> {
        let input = json!({
            "n": 3, "half": 0.5, "text": "fast", "digits": "2048", "yes": true, "nothing": null,
            "urls": ["a", "b", "c", "d"], "deep": {"list": [{"size": 700}]},
        });
        evaluate(
            expression,
            &input,
            &json!({"timeoutSecs": 3600, "maxItems": 10, "memoryMbytes": 512, "build": "latest"}),
        )
    }

    #[test]
    fn expressions_come_to_the_nearest_power_of_two() {
        for (expression, memory) in [
            ("1024", 1024),
            ("1000", 1024),
            ("724", 512),
            ("725", 1024),
            ("1", 128),
            ("1e9", 32768),
            ("input.n * 1024", 4096),
            ("{{ input.n }} * 1024 - {{runOptions.memoryMbytes}}", 2048),
            ("2 + 3 * 256 - 8 / 4 / 2", 1024),
            ("(1 + 1) * 256", 512),
            ("-(-512)", 512),
            ("max(512, input.n * 100, 2)", 512),
            ("min(input.n * 4096, 4096)", 4096),
            ("input.n > 2 ? 2048 : 256", 2048),
            ("input.n >= 4 ? 2048 : input.n == 3 ? 1024 : 256", 1024),
            ("1 < input.n < 3 ? 256 : 512", 512),
            ("input.missing ?? 256", 256),
            ("input.nothing ?? 256 * 2", 512),
            ("input.yes and not false ? 256 : 512", 256),
            ("false or input.n xor true ? 256 : 512", 512),
            ("compareText(input.text, \"fast\") == 0 ? 4096 : 128", 4096),
            ("+input.digits", 2048),
            ("input.digits / 2", 1024),
            ("get(input, 'urls.length') * 128", 512),
            ("get(input, 'deep.list.0.size', 1)", 512),
            ("get(input, 'deep.list.5.size', 256)", 256),
            ("get(input, 'nothing.at.all', 256)", 256),
            ("a = 256\nb = a * 2 # twice\n\nb * 2", 1024),
            ("a = 256; a * 2", 512),
            ("a = b = 512", 512),
            ("max(\n 256,\n 512\n)", 512),
            ("ceil(0.2) * 128 + floor(1.9) * 128 + round(0.5) * 256", 512),
            ("exp(log(512))", 512),
            ("log(1024, 2) * 100", 1024),
            ("log10(1000) * 100", 256),
            ("round(2.345, 2) * 100", 256),
            ("max([128, 256])", 256),
            ("input[\"n\"] * 128", 512),
            ("input.deep.list[1].size", 512),
            ("true ? 256 : oops(", 0),
            ("runOptions.build == 'latest' ? 256 : 512", 256),
            (".5e3", 512),
        ] {
            assert_eq!(evaluated(expression), Some(memory).filter(|&memory| memory > 0), "{expression}");
        }
    }

    #[test]
    fn what_is_no_size_comes_to_nothing() {
        for expression in [
            "",
            "0",
            "-512",
            "1 / 0",
            "0 / 0",
            "'text'",
            "input.text",
            "input.digits",
            "input.text * 2",
            "true",
            "input.missing",
            "input.missing * 2",
            "input.missing.deeper",
            "null",
            "input",
            "unknown",
            "unknown(1)",
            "evaluate('512')",
            "compile('512')",
            "parse('512')",
            "{{process.env}}",
            "{{runOptions.secret}} ?? 512",
            "512 512",
            "512 +",
            "(512",
            "512)",
            "min()",
            "get(input)",
            "\"unclosed",
            "1 = 2",
            "input = 5",
            "2 ^ 9",
            "a.b = 512",
        ] {
            assert_eq!(evaluated(expression), None, "{expression}");
        }
        assert_eq!(evaluated(&format!("512{}", " ".repeat(998))), None);
        assert_eq!(evaluated(&"(".repeat(1000)), None);
        assert_eq!(evaluated(&"-".repeat(999)), None);
        assert_eq!(evaluated(&format!("{}512", "not ".repeat(200))), None);
        assert_eq!(evaluated(&"1?1:".repeat(249)), None);
        assert_eq!(evaluated(&format!("{}512", "a=".repeat(400))), None);
        assert_eq!(evaluated(&format!("a=[1,1]\n{}a", "a=[a,a]\n".repeat(120))), None);
    }

    proptest! {
        #[test]
        fn any_expression_is_answered(
            expression in r#"([0-9.]{1,3}|[-+*/()?:;=<>!,\[\]{}#"'\n ]|\?\?|input|runOptions|\.|n|max|get|log|and|or|not|xor|null){0,30}"#,
        ) {
            if let Some(memory) = evaluated(&expression) {
                prop_assert!(memory.is_power_of_two() && (128..=32768).contains(&memory));
            }
        }

        #[test]
        fn any_text_is_answered(expression in any::<String>()) {
            let _ = evaluated(&expression);
        }

        #[test]
        fn sizes_are_powers_of_two_within_bounds(megabytes in any::<f64>()) {
            if let Some(memory) = to_power_of_two(megabytes) {
                prop_assert!(memory.is_power_of_two() && (128..=32768).contains(&memory));
            }
        }
    }
}
