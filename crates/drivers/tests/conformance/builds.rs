//! Builds, and how they end.

use playhouse_drivers::{ExitCause, Observed, RunSpec, Stop};

use crate::bench::{BASE, benches, log, processes, soon, until};

#[tokio::test]
async fn an_image_holds_what_its_dockerfile_says() {
    for bench in benches().await {
        let dockerfile = format!(
            "FROM {BASE}\nARG GREETING=hello\nENV TWICE=$GREETING-$GREETING\nWORKDIR /app\nCOPY . ./src/\n\
             RUN echo \"$GREETING $TWICE\" > /tmp/out && ls src\nENTRYPOINT [\"cat\"]\nCMD [\"/tmp/out\", \"src/main.js\"]\n"
        );
        let files = [("main.js", "1\n"), ("node_modules/x", "1"), (".dockerignore", "node_modules\n.dockerignore")];
        let mut spec = bench.build_spec("image", &bench.context(&files), &dockerfile);
        spec.args.insert("GREETING".into(), "good morning".into());
        spec.use_cache = false;
        let (exit, build_log) = bench.build(&spec).await;
        assert_eq!((exit.code, exit.cause), (Some(0), ExitCause::Exited), "{:?}: {build_log}", bench.host);

        let info = bench.driver.image("image").await.unwrap().unwrap();
        assert_eq!((info.workdir.as_str(), &info.entrypoint[..]), ("/app", &["cat".to_owned()][..]));
        assert_eq!(info.env["TWICE"], "good morning-good morning");
        assert!(info.digest.starts_with("sha256:") && info.digest.len() == 71 && info.size_bytes > 0, "{info:?}");
        assert!(build_log.contains("main.js"), "{:?}: {build_log}", bench.host);
        let run = RunSpec { build_id: "image".into(), ..bench.script("of-image", "") };
        assert_eq!(bench.run(&run).await.1, "good morning good morning-good morning\n1\n");

        bench.driver.remove_image("image").await.unwrap();
        bench.driver.remove_image("image").await.unwrap();
        assert_eq!(bench.driver.image("image").await.unwrap(), None);
    }
}

#[tokio::test]
async fn a_step_that_fails_fails_the_build() {
    for bench in benches().await {
        let dockerfile = format!("FROM {BASE}\nRUN echo before && exit 3\nRUN echo after\n");
        let spec = bench.build_spec("failing", &bench.context(&[]), &dockerfile);
        let (exit, log) = bench.build(&spec).await;

        assert!(
            matches!(&exit.cause, ExitCause::Failed { reason } if reason.contains('3')),
            "{:?}: {exit:?}",
            bench.host
        );
        assert!(log.contains("before\n") && !log.contains("after\n"), "{:?}: {log}", bench.host);
        assert_eq!(bench.driver.image("failing").await.unwrap(), None);
    }
}

#[tokio::test]
async fn a_stopped_build_leaves_no_process() {
    for bench in benches().await {
        let mark = format!("sleep {}.8", if bench.engine() == "podman" { 20 } else { 4712 });
        let dockerfile = format!("FROM {BASE}\nRUN echo begun && {mark} && echo ended\n");
        let spec = bench.build_spec("stopped", &bench.context(&[]), &dockerfile);
        bench.driver.start_build(&spec).await.unwrap();
        until("the step runs", || log(&spec.log).contains("begun\n") && !processes(&mark).is_empty()).await;
        assert_eq!(bench.driver.observe(&spec.job).await.unwrap(), Observed::Running);

        soon(bench.driver.stop(&spec.job, Stop::Kill)).await.unwrap();

        if bench.engine() != "podman" {
            until("the step is gone", || processes(&mark).is_empty()).await;
        }
        let exit = soon(bench.driver.wait(&spec.job)).await.unwrap();
        assert_eq!(exit.cause, ExitCause::Stopped, "{:?}", bench.host);
        assert_eq!(bench.driver.image("stopped").await.unwrap(), None);
    }
}

#[tokio::test]
async fn secrets_are_masked_in_the_log_of_a_build() {
    for bench in benches().await {
        let dockerfile = format!("FROM {BASE}\nARG TOKEN\nRUN echo \"with $TOKEN\"\n");
        let mut spec = bench.build_spec("masked", &bench.context(&[]), &dockerfile);
        spec.args.insert("TOKEN".into(), "hunter-4711".into());
        spec.secrets = vec!["hunter-4711".into()];
        let (_, log) = bench.build(&spec).await;

        assert!(log.contains("with *****") && !log.contains("hunter-4711"), "{:?}: {log}", bench.host);
    }
}
