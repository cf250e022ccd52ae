//! Builds, and how they end.

use model::PullPolicy;
use playhouse_drivers::{BuildSpec, ExitCause, Observed, Prebuilt, RunSpec, Stop};

use crate::bench::{BASE, all_benches, benches};
use crate::scripts::processes;
use crate::waiting::{log, soon, until};

#[tokio::test]
async fn an_image_holds_what_its_dockerfile_says() {
    for bench in all_benches().await {
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
    for bench in all_benches().await {
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
        // Podman does not repeat the output of a step that is in its cache.
        spec.use_cache = false;
        spec.secrets = vec!["hunter-4711".into()];
        let (_, log) = bench.build(&spec).await;

        assert!(log.contains("with *****") && !log.contains("hunter-4711"), "{:?}: {log}", bench.host);
    }
}

#[tokio::test]
async fn an_image_that_was_built_elsewhere_is_taken_as_it_is() {
    for bench in benches().await {
        let taken = |id: &str, image: &str| {
            let prebuilt = Prebuilt { image: image.into(), pull: PullPolicy::Never, login: None };
            BuildSpec { prebuilt: Some(prebuilt), ..bench.build_spec(id, bench.dir.path(), "") }
        };
        let spec = taken("taken", BASE);
        if !bench.is_containers() {
            let refused = bench.driver.start_build(&spec).await.unwrap_err().to_string();
            assert!(refused.contains("use the docker driver"), "{refused}");
            continue;
        }
        let (exit, text) = bench.build(&spec).await;
        assert_eq!((exit.code, exit.cause), (Some(0), ExitCause::Exited), "{:?}: {text}", bench.host);
        assert!(bench.driver.image("taken").await.unwrap().is_some_and(|image| image.size_bytes > 0));

        bench.driver.remove_image("taken").await.unwrap();

        assert_eq!(bench.driver.image("taken").await.unwrap(), None);
        bench.docker(&["image", "inspect", BASE]);
        for (id, image, expected) in [
            ("absent", "registry.invalid/ada/absent:1", "does not have the image registry.invalid/ada/absent:1"),
            ("other", "localhost/playhouse-other:build1", "only its own Actor runs"),
        ] {
            let (exit, _) = bench.build(&taken(id, image)).await;
            let ExitCause::Failed { reason } = exit.cause else { panic!("{:?}: {exit:?}", bench.host) };
            assert!(reason.contains(expected), "{reason}");
        }
    }
}
