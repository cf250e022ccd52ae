use proptest::prelude::*;

use super::ignore::Ignore;
use super::pattern::Pattern;
use super::words::expand;
use super::*;

fn actions(text: &str) -> Vec<Action> {
    let file = parse(&format!("FROM node:22\n{text}")).unwrap();
    file.stages[0].instructions.iter().map(|instruction| instruction.action.clone()).collect()
}

fn shell(text: &str) -> Action {
    Action::Run(Run { mounts: Vec::new(), flags: Vec::new(), command: Command::Shell(text.into()), script: None })
}

fn copy(sources: &[&str], destination: &str) -> Copy {
    Copy {
        from: None,
        chown: None,
        chmod: None,
        flags: Vec::new(),
        sources: sources.iter().map(|source| Source::Path((*source).into())).collect(),
        destination: destination.into(),
    }
}

#[test]
fn a_template_is_read_with_its_continuations_and_comments() {
    let text = "\
# Specify the base image.
FROM apify/actor-node:22 AS builder

COPY --chown=myuser:myuser package*.json ./

RUN npm --quiet set progress=false \\
    # npm is told to be quiet

    && npm install --omit=dev \\
    && echo \"done\"

FROM apify/actor-node:22
COPY --from=builder /usr/src/app/dist ./dist
CMD npm run start:prod --silent
";
    let file = parse(text).unwrap();

    assert_eq!(file.stages.len(), 2);
    assert_eq!(file.stages[0].from.name.as_deref(), Some("builder"));
    assert_eq!((file.stages[0].line, file.stages[1].line), (2, 12));
    let run = &file.stages[0].instructions[1];
    assert_eq!(run.line, 6);
    assert_eq!(run.text, "RUN npm --quiet set progress=false     && npm install --omit=dev     && echo \"done\"");
    let expected = Copy { chown: Some("myuser:myuser".into()), ..copy(&["package*.json"], "./") };
    assert_eq!(file.stages[0].instructions[0].action, Action::Copy(expected));
    let expected = Copy { from: Some("builder".into()), ..copy(&["/usr/src/app/dist"], "./dist") };
    assert_eq!(file.stages[1].instructions[0].action, Action::Copy(expected));
}

#[test]
fn commands_have_an_exec_form_and_a_shell_form() {
    let exec = |words: &[&str]| Command::Exec(words.iter().map(|word| (*word).into()).collect());
    assert_eq!(actions(r#"CMD ["node", "a b.js"]"#), [Action::Cmd(exec(&["node", "a b.js"]))]);
    assert_eq!(actions("ENTRYPOINT node x"), [Action::Entrypoint(Command::Shell("node x".into()))]);
    assert_eq!(actions("CMD ['node']"), [Action::Cmd(Command::Shell("['node']".into()))]);
    assert_eq!(actions("CMD []"), [Action::Cmd(exec(&[]))]);
    assert_eq!(actions("RUN [ \"$X\" = 1 ]"), [shell("[ \"$X\" = 1 ]")]);
}

#[test]
fn a_directive_changes_the_escape_character_only_at_the_top() {
    let file = parse("# syntax=docker/dockerfile:1\n# escape=`\nFROM x\nRUN a `\n  b \\\nUSER c").unwrap();
    assert_eq!((file.escape, file.syntax.as_deref()), ('`', Some("docker/dockerfile:1")));
    assert_eq!(file.stages[0].instructions[0].action, shell("a   b \\"));
    assert_eq!(file.stages[0].instructions[1].line, 6);

    let late = parse("# just a comment\n# escape=`\nFROM x\nRUN a \\\n b").unwrap();
    assert_eq!(late.escape, '\\');
    assert_eq!(late.stages[0].instructions[0].action, shell("a  b"));
    assert_eq!(parse("# escape=/\nFROM x").unwrap_err().line, 1);
}

#[test]
fn env_and_arg_come_in_their_old_and_new_forms() {
    let pairs = |pairs: &[(&str, &str)]| {
        pairs.iter().map(|(name, value)| Assignment { name: (*name).into(), value: (*value).into() }).collect()
    };
    assert_eq!(
        actions("ENV a=1 b=\"2 3\" c=4\\ 5"),
        [Action::Env(pairs(&[("a", "1"), ("b", "\"2 3\""), ("c", "4\\ 5")]))]
    );
    assert_eq!(actions("ENV a hello = world"), [Action::Env(pairs(&[("a", "hello = world")]))]);
    let arg = |name: &str, default: Option<&str>| Arg { name: name.into(), default: default.map(Into::into) };
    assert_eq!(actions("ARG a b=1"), [Action::Arg(vec![arg("a", None), arg("b", Some("1"))])]);
    let file = parse("ARG V=22\nFROM node:$V").unwrap();
    assert_eq!(file.global_args, [arg("V", Some("22"))]);
}

#[test]
fn heredocs_are_scripts_files_or_part_of_a_command() {
    let found = actions(
        "RUN <<EOF\nset -e\n# not a comment\nnpm ci\nEOF\nRUN cat <<-'X' >f && echo \"<<no\"\n\t$a\n\tX\nUSER u",
    );
    let Action::Run(script) = &found[0] else { panic!("{found:?}") };
    assert_eq!(script.script.as_ref().unwrap().body, "set -e\n# not a comment\nnpm ci\n");
    assert_eq!(found[1], shell("cat <<-'X' >f && echo \"<<no\"\n$a\nX"));
    assert_eq!(found[2], Action::User("u".into()));

    let found = actions("COPY <<one.txt \"<<not\" <<\"two\" /to/\nA $x\none.txt\nB\ntwo");
    let Action::Copy(copy) = &found[0] else { panic!("{found:?}") };
    let Source::Heredoc(one) = &copy.sources[0] else { panic!("{copy:?}") };
    assert_eq!((one.name.as_str(), one.body.as_str(), one.verbatim), ("one.txt", "A $x\n", false));
    assert_eq!(copy.sources[1], Source::Path("\"<<not\"".into()));
    let Source::Heredoc(two) = &copy.sources[2] else { panic!("{copy:?}") };
    assert_eq!((two.body.as_str(), two.verbatim), ("B\n", true));

    assert_eq!(actions("RUN cat <<< here && echo $((1<<3)) a<<b"), [shell("cat <<< here && echo $((1<<3)) a<<b")]);
}

#[test]
fn mounts_of_run_are_understood() {
    let found = actions(
        "RUN --mount=type=cache,target=/root/.npm,sharing=locked --mount=target=/src,from=a --network=none npm ci",
    );
    let Action::Run(run) = &found[0] else { panic!("{found:?}") };
    assert_eq!((run.mounts[0].kind.as_str(), run.mounts[0].get(&["dst", "target"])), ("cache", Some("/root/.npm")));
    assert_eq!((run.mounts[1].kind.as_str(), run.mounts[1].get(&["from"])), ("bind", Some("a")));
    assert_eq!(run.flags, [Flag { name: "network".into(), value: Some("none".into()) }]);
    assert_eq!(run.command, Command::Shell("npm ci".into()));
}

#[test]
fn mistakes_are_named_with_their_line() {
    for (text, line, part) in [
        ("", 1, "no FROM"),
        ("# nothing\n\n", 2, "no FROM"),
        ("RUN x\nFROM y", 1, "before the first FROM"),
        ("FROM a\n\nRNU x", 3, "unknown instruction RNU"),
        ("FROM a\nRUN", 2, "RUN needs"),
        ("FROM a b", 1, "FROM needs one image"),
        ("FROM a AS 1", 1, "no name for a stage"),
        ("FROM --x=1 a", 1, "no option --x"),
        ("FROM a\nCOPY x", 2, "COPY needs"),
        ("FROM a\nCOPY --from=b", 2, "COPY needs"),
        ("FROM a\nENV a", 2, "ENV needs"),
        ("FROM a\nENV a=1 b", 2, "no `=` after b"),
        ("FROM a\nARG =1", 2, "without a name"),
        ("FROM a\nSHELL sh -c", 2, "JSON list"),
        ("FROM a\nRUN x \\\n  y\n\nRUN <<EOF\nb\n", 5, "EOF has no end"),
    ] {
        let error = parse(text).unwrap_err();
        assert_eq!((error.line, error.message.contains(part)), (line, true), "{text:?}: {error}");
    }
}

#[test]
fn a_stage_is_found_by_name_or_index_among_those_above() {
    let file = parse("FROM a AS One\nFROM b\nFROM c AS two\nFROM d AS one").unwrap();
    assert_eq!(file.stage_before("one", 3), Some(0));
    assert_eq!(file.stage_before("ONE", 4), Some(3));
    assert_eq!(file.stage_before("1", 3), Some(1));
    assert_eq!(file.stage_before("two", 2), None);
    assert_eq!(file.stage_before("3", 3), None);
}

#[test]
fn words_are_expanded_like_docker_does() {
    let lookup = |name: &str| match name {
        "set" => Some("value".to_owned()),
        "empty" => Some(String::new()),
        "1" => Some("one".to_owned()),
        _ => None,
    };
    for (word, expected) in [
        ("a$set-b", "avalue-b"),
        ("${set}x", "valuex"),
        ("$nothing.", "."),
        ("\\$set '$set' \"$set\" \"\\$set\"", "$set $set value $set"),
        ("${set:-d} ${empty:-d} ${empty-d} ${nothing-d}", "value d  d"),
        ("${set:+i} ${empty:+i} ${empty+i} ${nothing+i}", "i  i "),
        ("${nothing:-${also:-\"deep }\"}}", "deep }"),
        ("${set:?no}", "value"),
        ("$1x a$ $-", "onex a$ $-"),
        ("\"a\\nb\" a\\nb", "a\\nb anb"),
        ("a\\ b", "a b"),
    ] {
        assert_eq!(expand(word, '\\', &lookup).as_deref(), Ok(expected), "{word}");
    }
    for word in ["'open", "\"open", "${set", "${}", "${set:x}", "${set/a/b}", "${nothing:?is missing}", "${nothing:-x"]
    {
        assert!(expand(word, '\\', &lookup).is_err(), "{word}");
    }
    let deep = "${a:-".repeat(10_000);
    assert!(expand(&deep, '\\', &lookup).unwrap_err().contains("too deep"));
    let half = |_: &str| Some("x".repeat(600 << 10));
    assert_eq!(expand("$A", '\\', &half).unwrap().len(), 600 << 10);
    for word in ["$A$A", "\"${A}${A}\"", "${B:+$A$A}"] {
        assert!(expand(word, '\\', &half).unwrap_err().contains("longer than"), "{word}");
    }
}

#[test]
fn patterns_of_copy_stay_within_a_directory() {
    for (pattern, path, fits) in [
        ("package*.json", "package.json", true),
        ("package*.json", "package-lock.json", true),
        ("package*.json", "sub/package.json", false),
        ("**/x", "a/b/x", false),
        ("*/x", "a/x", true),
        ("[a-c]?", "b1", true),
        ("[^a-c]?", "b1", false),
        ("a\\*b", "a*b", true),
        ("a\\*b", "axb", false),
        ("", "", true),
    ] {
        assert_eq!(Pattern::of_copy(pattern).unwrap().matches(path), fits, "{pattern} {path}");
    }
    for broken in ["[", "[]", "[a", "[a-", "[a-]", "\\", "[-a]"] {
        assert!(Pattern::of_copy(broken).is_err(), "{broken}");
    }
}

#[test]
fn what_dockerignore_leaves_out_is_decided_by_the_last_rule_that_fits() {
    let ignore = Ignore::parse(
        "# comment\nnode_modules\n/dist/\n**/*.log\n!keep.log\nstorage/**\n!storage/keep/\n*.md\n!README.md\na/**/z\n\n./tmp/../x\n",
    )
    .unwrap();
    for (path, excluded) in [
        ("node_modules", true),
        ("node_modules/a/b.js", true),
        ("sub/node_modules", false),
        ("dist/main.js", true),
        ("a.log", true),
        ("deep/er/a.log", true),
        ("keep.log", false),
        ("deep/keep.log", true),
        ("storage", false),
        ("storage/x", true),
        ("storage/keep", false),
        ("storage/keep/file", false),
        ("NOTES.md", true),
        ("README.md", false),
        ("a/z", true),
        ("a/b/c/z", true),
        ("az", false),
        ("x", true),
        ("src/main.js", false),
        ("# comment", false),
    ] {
        assert_eq!(ignore.excludes(path), excluded, "{path}");
    }
    assert!(ignore.may_keep_below_excluded());
    assert_eq!(Ignore::parse("ok\n[").unwrap_err().0, 2);
}

#[test]
fn a_pattern_made_to_take_long_does_not() {
    let pattern = Pattern::of_ignore(&"**/*a".repeat(200)).unwrap();
    assert!(!pattern.matches(&"a/".repeat(500)));
}

/// Text that looks enough like a Dockerfile to get past the first letters.
fn nearly_a_dockerfile() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("FROM node:22 AS a\n".to_owned()),
        "(RUN|COPY|ADD|ENV|ARG|LABEL|CMD|SHELL|ONBUILD|VOLUME|from) ",
        "(--mount=|--from=|--|<<EOF|<<-'E'|EOF\n|#|# escape=`\n|\\\\\n|`\n|\\[\"|\"\\]|\"|'|\\$\\{|\\}|:-|=|\n)",
        "\\PC{0,6}",
        "[ \t\r\n\\\\]{0,3}",
    ];
    proptest::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

fn word() -> impl Strategy<Value = String> {
    "[a-zA-Z0-9_./*$-]{1,12}".prop_filter("a word of its own", |word| !word.starts_with("--"))
}

proptest! {
    #[test]
    fn no_text_makes_the_parser_panic(text in prop_oneof![any::<String>(), nearly_a_dockerfile()]) {
        if let Ok(file) = parse(&text) {
            prop_assert!(!file.stages.is_empty());
            let lines = text.lines().count();
            for instruction in file.stages.iter().flat_map(|stage| &stage.instructions) {
                prop_assert!((1..=lines).contains(&instruction.line));
            }
        }
    }

    #[test]
    fn no_word_makes_expansion_panic(word in prop_oneof![any::<String>(), "[$\\{\\}:+?'\"a\\\\ -]{0,30}"]) {
        let _ = expand(&word, '\\', &|name| (name.len() > 1).then(|| name.to_owned()));
    }

    #[test]
    fn no_ignore_file_makes_matching_panic(text in any::<String>(), path in "[a-z/.*]{0,20}") {
        if let Ok(ignore) = Ignore::parse(&text) {
            ignore.excludes(&path);
        }
    }

    #[test]
    fn plain_words_split_and_join_unchanged(words in proptest::collection::vec(word(), 1..8)) {
        prop_assert_eq!(words::split(&words.join("  "), '\\'), words);
    }

    #[test]
    fn quoting_hides_every_character_from_expansion(text in "[^']{0,30}") {
        prop_assert_eq!(expand(&format!("'{text}'"), '\\', &|_| Some("no".into())), Ok(text));
    }

    #[test]
    fn instructions_written_from_their_parts_are_read_back(
        sources in proptest::collection::vec(word(), 1..4),
        destination in word(),
        from in proptest::option::of("[a-z]{1,8}"),
        chown in proptest::option::of("[a-z]{1,8}(:[a-z]{1,8})?"),
        breaks in any::<bool>(),
    ) {
        let between = if breaks { " \\\n  # a comment\n  " } else { " " };
        let mut text = String::from("COPY");
        for (name, value) in [("from", &from), ("chown", &chown)] {
            if let Some(value) = value {
                text.push_str(&format!("{between}--{name}={value}"));
            }
        }
        for word in sources.iter().chain([&destination]) {
            text.push_str(between);
            text.push_str(word);
        }
        let words: Vec<&str> = sources.iter().map(String::as_str).collect();
        let expected = Copy { from, chown, ..copy(&words, &destination) };
        prop_assert_eq!(actions(&text), [Action::Copy(expected)]);
    }

    #[test]
    fn a_pattern_without_special_characters_fits_only_itself(a in "[a-z/]{0,10}", b in "[a-z/]{0,10}") {
        prop_assert_eq!(Pattern::of_ignore(&a).unwrap().matches(&b), a == b);
    }
}
