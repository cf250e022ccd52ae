//! Small Dockerfiles on the bases of the two languages; no network.

use std::fs;

use playhouse_drivers::process::Separation;
use playhouse_drivers::process::image::StoredImage;
use playhouse_drivers::{Driver, ExitCause, Stop};

use crate::bench::Bench;
use crate::waiting::{log, until};

#[tokio::test]
async fn an_image_holds_what_its_dockerfile_says() {
    let bench = Bench::new();
    let dockerfile = "\
FROM node:22
ARG GREETING=hello
ENV NAME=\"big world\" \\
    # in between
    TWICE=$GREETING-$GREETING
WORKDIR /app/deep/..
COPY . ./src/
RUN echo \"$GREETING $NAME $TWICE\" > out && node -e 'console.log(process.version)' && ls src
RUN [\"node\", \"-e\", \"require('fs').appendFileSync('out', 'exec form\\\\n')\"]
WORKDIR sub
USER node
LABEL a=b
EXPOSE 4321
VOLUME /data
HEALTHCHECK NONE
ENTRYPOINT [\"node\"]
CMD [\"-e\", \"console.log(require('fs').readFileSync('../out', 'utf8'))\"]
";
    let files = [("main.js", "1"), ("node_modules/x", "1"), (".dockerignore", "node_modules\n.dockerignore")];
    let (built, info) = bench.image("b", &files, dockerfile).await;

    assert_eq!(bench.run(&built, "r", "").await, "hello big world hello-hello\nexec form\n\n");
    assert_eq!((info.workdir.as_str(), info.user.as_str()), ("/app/sub", "node"));
    assert_eq!(info.entrypoint, ["node"]);
    assert_eq!(info.env["TWICE"], "hello-hello");
    assert!(
        !info.env.contains_key("GREETING") && info.env.keys().all(|name| !name.starts_with("NPM_")),
        "{:?}",
        info.env
    );
    assert!(info.digest.starts_with("sha256:") && info.digest.len() == 71 && info.size_bytes > 0);
    assert_eq!(bench.run(&built, "r2", "ls /app/src; pwd").await, "main.js\n/app/sub\n");
    for line in ["VOLUME is ignored", "HEALTHCHECK is ignored", "Step 7/15 : RUN [\"node\""] {
        assert!(built.log.contains(line), "{line}: {}", built.log);
    }
}

#[tokio::test]
async fn python_has_an_environment_of_its_own_with_pip() {
    let bench = Bench::new();
    let dockerfile = "\
FROM python:3-slim
WORKDIR /app
COPY my_actor my_actor
RUN pip --version && python -m compileall -q my_actor && python3 -c 'import sys; print(sys.prefix != sys.base_prefix)'
CMD [\"python3\", \"-m\", \"my_actor\"]
";
    let (built, info) =
        bench.image("b", &[("my_actor/__main__.py", "import sys; print(sys.prefix)")], dockerfile).await;

    assert!(built.log.contains("\nTrue\n"), "{}", built.log);
    assert_eq!(bench.run(&built, "r", "").await, "/opt/python\n");
    assert!(info.env.keys().all(|name| !name.starts_with("PIP_")), "{:?}", info.env);
}

#[tokio::test]
async fn what_an_earlier_build_did_is_not_done_again() {
    let bench = Bench::new();
    let dockerfile =
        "FROM node:22\nWORKDIR /app\nCOPY package.json .\nRUN date +%N > installed\nCOPY . .\nRUN cat installed > copy";
    let first = [("package.json", "{}"), ("main.js", "1")];
    let (built, _) = bench.image("a", &first, dockerfile).await;
    let installed = bench.run(&built, "ra", "cat installed").await;

    let (built, _) = bench.image("b", &[("package.json", "{}"), ("main.js", "2")], dockerfile).await;

    assert_eq!(built.log.matches("---> as in an earlier build").count(), 3, "{}", built.log);
    assert_eq!(bench.run(&built, "rb", "cat installed copy main.js").await, format!("{installed}{installed}2\n"));

    let (built, _) = bench.image("c", &[("package.json", "{ }"), ("main.js", "2")], dockerfile).await;
    assert_ne!(bench.run(&built, "rc", "cat installed").await, installed);

    let mut spec = bench.spec("d", &bench.context(&first), dockerfile);
    spec.use_cache = false;
    let built = bench.build(&spec).await.succeeded();
    assert!(!built.log.contains("earlier build"), "{}", built.log);
    assert_ne!(bench.run(&built, "rd", "cat installed").await, installed);
}

#[tokio::test]
async fn arguments_of_the_build_are_inputs_of_its_steps() {
    let bench = Bench::new();
    let dockerfile =
        "ARG BASE=python:3\nFROM $BASE\nARG WHO=nobody\nRUN echo $WHO > /home/myuser/who\nRUN echo \"[$UNKNOWN]\"";
    let mut spec = bench.spec("a", &bench.context(&[]), dockerfile);
    for (name, value) in [("WHO", "me"), ("BASE", "node:22"), ("UNKNOWN", "x")] {
        spec.args.insert(name.into(), value.into());
    }
    let built = bench.build(&spec).await.succeeded();
    assert_eq!(bench.run(&built, "ra", "cat ~/who").await, "me\n");
    assert!(built.log.contains("\n[]\n"), "{}", built.log);

    spec = bench.spec("b", &bench.context(&[]), dockerfile);
    spec.args = [("WHO".into(), "you".into()), ("BASE".into(), "node:22".into())].into();
    let built = bench.build(&spec).await.succeeded();
    assert_eq!(bench.run(&built, "rb", "cat ~/who").await, "you\n");
}

#[tokio::test]
async fn stages_take_files_from_each_other_and_unneeded_ones_are_not_built() {
    let bench = Bench::new();
    let dockerfile = "\
FROM node:22 AS builder
WORKDIR /usr/src/app
COPY . ./
RUN mkdir -p dist/lib && cp main.ts dist/main.js && ln -s main.js dist/link && echo lib > dist/lib/a
FROM scratch AS never
FROM builder AS tested
RUN rm main.ts && rm -r dist/lib && mkdir dist/lib && echo new > dist/lib/b
FROM node:22
WORKDIR /usr/src/app
COPY --from=builder --chown=myuser:myuser /usr/src/app/dist ./dist
COPY --from=2 /usr/src/app /tested
COPY --from=tested /usr/src/app/dist/l* ./one/
RUN --mount=from=tested,source=/usr/src/app,target=/mnt/t --mount=type=bind,target=/mnt/c \\
    --mount=type=tmpfs,target=/scratch --mount=type=cache,target=/mnt/k \\
    ls /mnt/t /mnt/c > seen && touch /scratch/x /mnt/k/x
";
    let (built, _) = bench.image("b", &[("main.ts", "code")], dockerfile).await;

    let seen = bench
        .run(&built, "r", "find . /tested -type f -o -type l | sort; cat seen dist/main.js; ls /mnt; ls -d /scratch")
        .await;
    let expected = "\
./dist/lib/a
./dist/link
./dist/main.js
./one/b
./one/link
./seen
/tested/dist/lib/b
/tested/dist/link
/tested/dist/main.js
/mnt/c:
main.ts

/mnt/t:
dist
code";
    // Nothing is left of where the mounts were.
    let rest = seen.strip_prefix(expected).unwrap_or_else(|| panic!("{seen}"));
    assert!(rest.contains("/scratch") && rest.lines().count() == 1, "{seen}");
    assert!(!built.log.contains("never"), "{}", built.log);
}

#[tokio::test]
async fn users_can_be_added_and_given_files_as_far_as_there_are_any() {
    let bench = Bench::new();
    let dockerfile = "\
FROM node:22
WORKDIR /app
COPY --chown=root:root --chmod=750 run.sh .
RUN addgroup -S apify && adduser -h /home/apify -D apify && chown -R apify:apify ./ && chown root run.sh
RUN groupadd -r more && useradd -r -g more -G audio,video more && id apify && ls -d /home/more
USER apify
RUN ./run.sh && whoami
";
    let (built, info) = bench.image("b", &[("run.sh", "#!/bin/sh\necho ran > ran\n")], dockerfile).await;

    assert_eq!(info.user, "apify");
    assert_eq!(bench.run(&built, "r", "cat ran; touch new && stat -c %a run.sh").await, "ran\n750\n");
}

#[tokio::test]
async fn an_image_is_the_same_by_whatever_means_it_is_built() {
    let dockerfile = "\
FROM node:22 AS builder
WORKDIR /usr/src/app
COPY . .
RUN npm --version && mkdir dist && cp main.js dist/ && rm -r old && rm gone && rm -r ~/.npm
RUN test ! -e gone && ls dist && echo more >> dist/main.js
FROM node:22
WORKDIR /usr/src/app
COPY gone .
RUN echo made > made && rm gone
COPY --from=builder /usr/src/app .
CMD [\"sh\", \"-c\", \"find . -type f | sort; cat dist/main.js\"]
";
    let files = [("main.js", "main\n"), ("old/file", ""), ("gone", "")];
    for separation in [Separation::Best, Separation::WithoutOverlay, Separation::WithoutNamespaces] {
        let bench = Bench::apart(separation);
        let (built, info) = bench.image("b", &files, dockerfile).await;

        assert_eq!(
            bench.run(&built, "r", "").await,
            "./dist/main.js\n./made\n./main.js\nmain\nmore\n",
            "{separation:?}"
        );
        assert_eq!(info.workdir, "/usr/src/app");
    }
}

#[tokio::test]
async fn python_is_refused_where_a_build_would_write_to_the_host() {
    let bench = Bench::apart(Separation::WithoutNamespaces);
    let built = bench.build(&bench.spec("b", &bench.context(&[]), "FROM python:3\nRUN true")).await;

    assert!(built.reason().contains("need namespaces or a container engine"), "{}", built.reason());
}

#[tokio::test]
async fn heredocs_are_carried_out() {
    let bench = Bench::new();
    let dockerfile = "\
FROM node:22
WORKDIR /app
ENV WHO=me
COPY <<one.txt <<\"two.txt\" ./
it's $WHO \"quoted\" \\$WHO
one.txt
it's $WHO
two.txt
RUN <<EOF
set -e
echo first > script
echo second >> script
EOF
RUN <<EOF
#!/usr/bin/env node
require('fs').writeFileSync('node', 'from node\\n')
EOF
RUN cat <<EOF > shell && echo '' >> shell
$WHO
EOF
";
    let (built, _) = bench.image("b", &[], dockerfile).await;

    let text = bench.run(&built, "r", "cat one.txt two.txt script node shell").await;
    assert_eq!(text, "it's me \"quoted\" $WHO\nit's $WHO\nfirst\nsecond\nfrom node\nme\n\n");
}

#[tokio::test]
async fn steps_pass_files_in_tmp_on_and_keep_no_trace_of_their_means() {
    let bench = Bench::new();
    if !bench.stacks_layers() {
        return;
    }
    let dockerfile = "\
FROM node:22
COPY list /tmp/
RUN cat /tmp/list && echo more > /tmp/other && rm /tmp/list
RUN cat /tmp/other && test ! -e /tmp/list && test -d ~/.npm && rm -r ~/.npm
RUN npm --version && touch /usr/local/bin/tool && mkdir /opt/own
";
    let (built, _) = bench.image("b", &[("list", "the list\n")], dockerfile).await;

    assert!(built.log.contains("the list\n") && built.log.contains("more\n"), "{}", built.log);
    let stored = StoredImage::load(&bench.data_dir(), "b").unwrap().unwrap();
    let last = bench.data_dir().join(stored.layers.last().unwrap());
    let found = std::process::Command::new("find").arg(".").current_dir(last).output().unwrap();
    let mut found: Vec<_> = String::from_utf8(found.stdout).unwrap().lines().map(str::to_owned).collect();
    found.retain(|path| !path.starts_with("./tmp"));
    found.sort();
    assert_eq!(found, [".", "./opt", "./opt/own", "./usr", "./usr/local", "./usr/local/bin", "./usr/local/bin/tool"]);
}

#[tokio::test]
async fn a_failing_step_is_named_and_the_steps_before_it_are_kept() {
    let bench = Bench::new();
    let context = bench.context(&[]);
    let dockerfile = "FROM node:22\nRUN echo once\n\nRUN echo to the log && \\\n  exit 7\nRUN never";
    let built = bench.build(&bench.spec("a", &context, dockerfile)).await;

    assert_eq!(built.reason(), "Dockerfile:4: RUN echo to the log &&   exit 7 failed with exit code 7");
    assert!(built.log.contains("\nto the log\nACTOR: Dockerfile:4: RUN"), "{}", built.log);
    assert!(bench.driver.image("a").await.unwrap().is_none());

    let built = bench.build(&bench.spec("b", &context, "FROM node:22\nRUN echo once\nRUN true")).await.succeeded();
    assert!(built.log.contains("earlier build"), "{}", built.log);

    for (id, dockerfile, reason) in [
        ("c", "FROM node:22\nRUN apt-get install x", "cannot be installed without a container engine"),
        ("d", "FROM node:22\nRUN [\"no-such-program\"]", "Dockerfile:2: "),
        ("e", "FROM node:22\nCOPY missing .", "Dockerfile:2: missing is not in the build context"),
        ("f", "FROM node:22\nRNU x", "Dockerfile:2: unknown instruction RNU"),
        ("g", "FROM apify/actor-node-playwright-chrome:22\nRUN x", "Dockerfile:1: the base image"),
        ("h", "FROM node:22\nRUN a\nADD https://example.com/x /", "Dockerfile:3: ADD of https"),
        ("i", "FROM node:22\nRUN kill -9 $$", "Dockerfile:2: RUN kill -9 $$ was ended by signal 9"),
    ] {
        let built = bench.build(&bench.spec(id, &context, dockerfile)).await;
        assert!(built.reason().contains(reason), "{dockerfile}: {}", built.reason());
        assert!(bench.driver.image(id).await.unwrap().is_none());
    }
}

#[tokio::test]
async fn layers_go_with_the_last_image_that_needs_them() {
    let bench = Bench::new();
    if !bench.stacks_layers() {
        return;
    }
    let shared = "FROM node:22\nRUN echo shared > ~/a\n";
    bench.image("a", &[], &format!("{shared}RUN echo a")).await;
    let (built, _) = bench.image("b", &[], &format!("{shared}RUN echo b")).await;
    let layers = || {
        let entries = fs::read_dir(bench.data_dir().join("layers")).unwrap();
        entries.filter(|entry| entry.as_ref().unwrap().path().is_dir()).count()
    };
    assert_eq!(layers(), 3);

    bench.driver.remove_image("a").await.unwrap();
    assert_eq!(layers(), 2);
    assert_eq!(bench.run(&built, "r", "cat ~/a").await, "shared\n");

    bench.driver.remove_image("b").await.unwrap();
    assert_eq!(layers(), 0);
}

#[tokio::test]
async fn the_host_cannot_be_read_or_written_by_a_build() {
    let bench = Bench::new();
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("secret"), "secret").unwrap();
    let host = outside.path().display();
    let context = bench.context(&[("file", "from the context")]);
    std::os::unix::fs::symlink(outside.path().join("secret"), context.join("way-out")).unwrap();

    let built = bench.build(&bench.spec("a", &context, "FROM node:22\nCOPY way-out /x")).await;
    assert!(built.reason().contains("way-out is not in the build context"), "{}", built.reason());

    let dockerfile = format!(
        "FROM node:22 AS one\nRUN mkdir ~/app && ln -s {host} ~/app/link\n\
         FROM one\nCOPY file /home/myuser/app/link/\nCOPY --from=one /home/myuser/app /home/myuser/copy\n\
         RUN cat {host}/file && test ! -e {host}/secret && test ! -e {data}",
        data = bench.data_dir().join("builds").display(),
    );
    let built = bench.build(&bench.spec("b", &context, &dockerfile)).await.succeeded();
    assert!(built.log.contains("from the context"), "{}", built.log);
    assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 1);

    let dockerfile = "FROM node:22 AS a\nFROM node:22\nCOPY --from=a /etc/shadow /x";
    let built = bench.build(&bench.spec("c", &context, dockerfile)).await;
    assert!(built.reason().contains("/etc/shadow is not in the stage a"), "{}", built.reason());
}

#[tokio::test]
async fn a_killed_build_leaves_no_image_and_nothing_unfinished() {
    let bench = Bench::new();
    let context = bench.context(&[]);
    let dockerfile = "FROM node:22\nRUN echo kept\nRUN echo started && sleep 4711.21";
    let spec = bench.spec("a", &context, dockerfile);
    bench.driver.start_build(&spec).await.unwrap();
    until("the step runs", || log(&spec.log).contains("\nstarted\n")).await;

    bench.driver.stop(&spec.job, Stop::Kill).await.unwrap();
    let exit = bench.driver.wait(&spec.job).await.unwrap();
    bench.driver.forget(&spec.job).await.unwrap();

    assert!(matches!(exit.cause, ExitCause::Stopped | ExitCause::Lost), "{exit:?}");
    assert!(bench.driver.image("a").await.unwrap().is_none());
    assert_eq!(fs::read_dir(bench.data_dir().join("builds/a")).into_iter().flatten().count(), 0);
    bench.image("b", &[], "FROM node:22\nRUN echo kept").await;
}
