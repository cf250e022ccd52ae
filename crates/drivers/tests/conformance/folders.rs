//! Folders of this machine that runs see.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use playhouse_drivers::{DriverError, Mount, RunSpec};

use crate::bench::{BASE, all_benches};
use crate::scripts::lay_out;

#[tokio::test]
async fn a_folder_covers_the_working_directory_and_the_images_packages_stay() {
    for bench in all_benches().await {
        if bench.is_containers() {
            let dockerfile = format!(
                "FROM {BASE}\nWORKDIR /app\nRUN mkdir node_modules && echo of the image > node_modules/package && echo old > main\n\
                 CMD [\"/bin/sh\", \"-c\", \"eval \\\"$SCRIPT\\\"\"]\n"
            );
            let (exit, log) = bench.build(&bench.build_spec("dev", &bench.context(&[]), &dockerfile)).await;
            assert_eq!(exit.code, Some(0), "{log}");
        } else {
            lay_out(&bench.data_dir(), "dev", "/app", &[("main", "old\n"), ("node_modules/package", "of the image\n")]);
        }
        let folder = bench.dir.path().join("folder");
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("main"), "new\n").unwrap();
        for dir in [bench.dir.path(), &folder] {
            fs::set_permissions(dir, fs::Permissions::from_mode(0o777)).unwrap();
        }
        let mount = Mount { source: folder.clone(), target: None, writable: true, keeps: vec!["node_modules".into()] };
        let spec = RunSpec {
            build_id: "dev".into(),
            mounts: vec![mount.clone()],
            ..bench.script("dev", "cat main node_modules/package; echo written > result")
        };

        let (exit, log) = bench.run(&spec).await;

        assert_eq!((exit.code, log.as_str()), (Some(0), "new\nof the image\n"), "{:?}", bench.host);
        assert_eq!(fs::read_to_string(folder.join("result")).unwrap(), "written\n");

        let gone = Mount { source: bench.dir.path().join("gone"), ..mount };
        let spec = RunSpec { build_id: "dev".into(), mounts: vec![gone], ..bench.script("gone", "true") };
        let refused = bench.driver.start_run(&spec).await.unwrap_err();
        assert!(matches!(&refused, DriverError::CannotStart(reason) if reason.contains("is not there")), "{refused}");
        assert!(!bench.dir.path().join("gone").exists());
    }
}
