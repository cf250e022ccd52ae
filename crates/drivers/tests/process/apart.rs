//! What a command can see and change, and what it cannot.

use std::fs;

use playhouse_drivers::Driver;
use playhouse_drivers::process::Separation;
use playhouse_drivers::process::image::StoredImage;
use playhouse_drivers::process::sandbox::{ACTOR_HOME, ACTOR_UID, Bind};

use crate::bench::{Bench, supervisor};
use crate::scripts::{kill, processes};
use crate::waiting::{soon, until};

/// Both ways to put file systems together, as far as they work here.
fn benches() -> Vec<Bench> {
    let mut benches = Vec::new();
    for separation in [Separation::Best, Separation::WithoutOverlay] {
        let bench = Bench::with(|config| config.separation = separation);
        let details = bench.driver.isolation().details.join("; ");
        let expected = if separation == Separation::Best { "overlayfs above" } else { "since overlayfs" };
        if details.contains(expected) {
            benches.push(bench);
        } else {
            eprintln!("SKIPPED: {separation:?} does not work here: {details}");
        }
    }
    benches
}

#[tokio::test]
async fn a_command_sees_its_image_and_a_system_without_secrets() {
    for bench in benches() {
        let data_dir = bench.data_dir();
        let script = format!(
            "pwd; cat hello.txt; id -un; id -u; ls -A /root /home /var/lib /srv; ls -d {0} 2>&1; \
             cat /etc/shadow /etc/gshadow 2>/dev/null; ls /proc | grep -c '^[0-9]'; echo self $$; ls /sys",
            data_dir.display()
        );
        let spec = bench.script("looker", &script);
        let (_, log) = bench.run(&spec).await;

        let expected = format!(
            "/usr/src/app\nfrom the image\nmyuser\n{ACTOR_UID}\n/home:\nmyuser\n\n/root:\n\n/srv:\n\n/var/lib:\n\
             ls: cannot access '{}': No such file or directory\n",
            data_dir.display()
        );
        assert!(log.starts_with(&expected), "{log}");
        let processes: u32 = log.lines().rev().nth(2).unwrap().parse().unwrap();
        assert!(processes <= 5 && log.ends_with("self 2\ndevices\n"), "{log}");
    }
}

#[tokio::test]
async fn a_command_gets_the_environment_of_image_and_run_and_nothing_else() {
    let bench = Bench::new();
    let spec = bench.script("env", "env | sort");
    let (_, log) = bench.run(&spec).await;

    let names: Vec<&str> = log.lines().filter_map(|line| Some(line.split_once('=')?.0)).collect();
    assert_eq!(names, ["FROM_IMAGE", "HOME", "HOSTNAME", "OVERRIDDEN", "PATH", "PWD", "SCRIPT"]);
    assert!(log.contains("OVERRIDDEN=run\n") && log.contains(&format!("HOME={ACTOR_HOME}\n")), "{log}");
    assert!(log.contains("HOSTNAME=env-1\n"), "{log}");
}

#[tokio::test]
async fn a_command_has_no_rights() {
    let bench = Bench::new();
    let script = "grep -E '^(CapPrm|CapEff|CapBnd|CapAmb|NoNewPrivs|Seccomp):' /proc/self/status; \
                  mount -t tmpfs none /tmp 2>/dev/null || echo no mount; \
                  unshare -U true 2>/dev/null || echo no namespace; \
                  touch /usr/x /etc/x /bin/x 2>/dev/null || echo no system; \
                  kill -9 1 2>/dev/null; echo alive; ls -l /proc/1/root 2>/dev/null | grep -c ' -> ' ; \
                  echo x > /proc/sys/kernel/hostname || echo no sysctl";
    let spec = bench.script("powerless", script);
    let (_, log) = bench.run(&spec).await;

    for expected in
        ["CapPrm:\t0000000000000000", "CapEff:\t0000000000000000", "CapBnd:\t0000000000000000", "NoNewPrivs:\t1"]
    {
        assert!(log.contains(expected), "{expected} is not in {log}");
    }
    for expected in ["Seccomp:\t2", "no mount", "no namespace", "no system", "alive", "no sysctl"] {
        assert!(log.contains(expected), "{expected} is not in {log}");
    }
}

#[tokio::test]
async fn writes_are_private_and_the_image_stays_as_it_was() {
    for bench in benches() {
        let script = "echo mine > hello.txt; mkdir -p storage/x; echo 1 > storage/x/y; echo t > /tmp/t; echo v > /var/tmp/v; \
                      echo h > ~/h; dd if=/dev/zero of=/dev/shm/z bs=1M count=10 2>/dev/null; mkdir /data && echo d > /data/d; \
                      cat hello.txt storage/x/y /tmp/t /var/tmp/v ~/h /data/d; ls /dev/shm";
        let spec = bench.script("writer", script);
        let (exit, log) = bench.run(&spec).await;
        assert_eq!((exit.code, log.as_str()), (Some(0), "mine\n1\nt\nv\nh\nd\nz\n"));

        let next =
            bench.script("reader", "cat hello.txt; ls storage /tmp /data /dev/shm ~ 2>/dev/null | grep -v :; true");
        let (_, log) = bench.run(&next).await;
        assert_eq!(log.trim(), "from the image");
        for at in ["/usr/src/app/storage", "/tmp/t", "/data"] {
            assert!(!fs::exists(at).unwrap(), "{at} is on the host");
        }

        bench.driver.forget(&spec.job).await.unwrap();
        assert!(!bench.data_dir().join("runs/writer/1").exists() && spec.log.exists());
    }
}

#[tokio::test]
async fn layers_cover_each_other_and_binds_show_the_host() {
    for bench in benches() {
        let data_dir = bench.data_dir();
        let upper = data_dir.join("builds/build1/layers/2/usr/src/app");
        fs::create_dir_all(&upper).unwrap();
        fs::write(upper.join("hello.txt"), "from the second layer\n").unwrap();
        let tool = data_dir.join("toolchain");
        fs::create_dir_all(&tool).unwrap();
        fs::write(tool.join("version"), "22\n").unwrap();
        let mut layers = bench.stored().layers;
        layers.push("builds/build1/layers/2".into());
        let binds = vec![Bind { source: tool.clone(), target: "/opt/tool-22".into(), writable: false }];
        bench.put_stored(&StoredImage { layers, binds, ..bench.stored() });

        let spec = bench.script(
            "layered",
            "cat hello.txt /opt/tool-22/version; touch /opt/tool-22/x 2>/dev/null || echo read-only",
        );
        let (_, log) = bench.run(&spec).await;

        assert_eq!(log, "from the second layer\n22\nread-only\n");
    }
}

#[tokio::test]
async fn names_are_resolved_and_the_loopback_is_the_hosts() {
    let bench = Bench::new();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let accepted = std::thread::spawn(move || listener.accept().map(drop));
    let script =
        format!("cat /etc/hosts /etc/resolv.conf | md5sum; (exec 3<>/dev/tcp/127.0.0.1/{port}) && echo connected");
    let mut spec = bench.script("net", "");
    spec.env.insert("SCRIPT".into(), format!("exec bash -c '{script}'"));
    let (_, log) = bench.run(&spec).await;

    let host =
        std::process::Command::new("sh").args(["-c", "cat /etc/hosts /etc/resolv.conf | md5sum"]).output().unwrap();
    assert_eq!(log, format!("{}connected\n", String::from_utf8(host.stdout).unwrap()));
    accepted.join().unwrap().unwrap();
}

#[tokio::test]
async fn without_namespaces_runs_work_in_a_copy_and_leave_no_process() {
    let bench = Bench::with(|config| config.separation = Separation::WithoutNamespaces);
    assert_ne!(bench.driver.isolation().level, "full");
    let spec = bench.script("plain", "cat hello.txt; echo mine > hello.txt; setsid sleep 4711.21 & echo done");
    let (exit, log) = bench.run(&spec).await;

    assert_eq!((exit.code, log.as_str()), (Some(0), "from the image\ndone\n"), "{exit:?}");
    assert_eq!(processes("sleep 4711.21"), Vec::<i32>::new());
    let image = bench.data_dir().join("builds/build1/layers/1/usr/src/app/hello.txt");
    assert_eq!(fs::read_to_string(image).unwrap(), "from the image\n");

    let lost = bench.script("plain-lost", "setsid sleep 4711.22 & setsid sleep 4711.22 & echo ready; wait");
    bench.driver.start_run(&lost).await.unwrap();
    until("all run", || crate::waiting::log(&lost.log).contains("ready")).await;
    kill(supervisor(&bench, &lost), "KILL");
    let exit = soon(bench.driver.wait(&lost.job)).await.unwrap();
    assert_eq!(exit.cause, playhouse_drivers::ExitCause::Lost);
    assert_eq!(processes("sleep 4711.22"), Vec::<i32>::new());
}

#[tokio::test]
async fn without_namespaces_landlock_guards_files() {
    let bench = Bench::with(|config| config.separation = Separation::WithoutNamespaces);
    if bench.driver.isolation().level != "partial" {
        eprintln!("SKIPPED: no Landlock here");
        return;
    }
    let secret = bench.data_dir().join("secret");
    fs::write(&secret, "hidden\n").unwrap();
    let outside = std::env::temp_dir().join(format!("playhouse-outside-{}", std::process::id()));
    let script = format!(
        "cat {0} 2>/dev/null || echo no secret; echo x > {1} || echo no write; echo y > own && cat own; ls / > /dev/null || echo no list",
        secret.display(),
        outside.display()
    );
    let (exit, log) = bench.run(&bench.script("guarded", &format!("{{ {script}; }} 2>/dev/null"))).await;

    assert_eq!((exit.code, log.as_str()), (Some(0), "no secret\nno write\ny\nno list\n"));
    assert!(!outside.exists());
}

#[tokio::test]
async fn a_data_directory_within_the_system_is_hidden() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("SKIPPED: only root can make a data directory in /opt");
        return;
    }
    let within = tempfile::tempdir_in("/opt").unwrap();
    let bench = Bench::with(|config| config.data_dir = within.path().join("data"));
    fs::write(within.path().join("beside"), "").unwrap();
    let script = format!("ls -A {0}; ls -A {0}/data", within.path().display());
    let (_, log) = bench.run(&bench.script("within", &script)).await;

    assert_eq!(log, "beside\ndata\n");
}

#[tokio::test]
async fn sockets_without_a_file_are_out_of_reach() {
    let bench = Bench::new();
    if !bench.driver.isolation().details.iter().any(|detail| detail.contains("abstract")) {
        eprintln!("SKIPPED: no Landlock here");
        return;
    }
    use std::os::linux::net::SocketAddrExt;
    let name = format!("playhouse-test-{}", std::process::id());
    let address = std::os::unix::net::SocketAddr::from_abstract_name(&name).unwrap();
    let _listener = std::os::unix::net::UnixListener::bind_addr(&address).unwrap();
    let connect = format!("import socket; socket.socket(socket.AF_UNIX).connect('\\0{name}')");
    let mut spec = bench.script("abstract", "/usr/bin/python3 -c \"$CONNECT\" 2>&1 | tail -1");
    spec.env.insert("CONNECT".into(), connect);
    let (_, log) = bench.run(&spec).await;

    assert_eq!(log, "PermissionError: [Errno 1] Operation not permitted\n");
}
