//! Takes rights away from this process, and with it from the command that it is about to execute.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, Result};
use landlock::{
    ABI, Access, AccessFs, CompatLevel, Compatible, Ruleset, RulesetAttr, RulesetCreatedAttr, Scope, path_beneath_rules,
};
use nix::libc;
use rustix::thread::CapabilitySet;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
};

use super::base::SYSTEM_DIRS;
use super::init::InitSpec;

/// For a process whose root is the sandbox's already.
pub(super) fn with_namespaces(spec: &InitSpec) -> Result<()> {
    give_up_privileges()?;
    if spec.landlock {
        // The network namespace is the host's, and sockets without a file are reachable through it.
        let scopes = Ruleset::default()
            .set_compatibility(CompatLevel::BestEffort)
            .scope(Scope::AbstractUnixSocket)
            .and_then(Ruleset::create)
            .and_then(landlock::RulesetCreated::restrict_self);
        scopes.context("cannot apply Landlock")?;
    }
    filter_system_calls()
}

/// For a process that sees the host's file system.
pub(super) fn without_namespaces(spec: &InitSpec) -> Result<()> {
    give_up_privileges()?;
    if spec.landlock {
        guard_files(spec).context("cannot apply Landlock")?;
    }
    filter_system_calls()
}

/// Whether the kernel knows Landlock.
pub(in crate::process) fn has_landlock() -> bool {
    let ruleset = Ruleset::default().set_compatibility(CompatLevel::HardRequirement);
    ruleset.handle_access(AccessFs::from_all(ABI::V1)).and_then(Ruleset::create).is_ok()
}

/// Ends all that descends from this process.
pub(super) fn kill_descendants() {
    crate::process::tree::kill_descendants(std::process::id().cast_signed());
}

/// What this process may do itself stays; what it executes gets nothing.
fn give_up_privileges() -> Result<()> {
    rustix::thread::set_no_new_privs(true).context("cannot set no_new_privs")?;
    rustix::thread::clear_ambient_capability_set().ok();
    for bit in 0..64 {
        // The end of the list, or a process without rights already.
        if rustix::thread::remove_capability_from_bounding_set(CapabilitySet::from_bits_retain(1 << bit)).is_err() {
            break;
        }
    }
    Ok(())
}

/// Leaves the system to be read, the sandbox's own directories to be written to, and nothing else.
fn guard_files(spec: &InitSpec) -> Result<()> {
    let abi = ABI::V5;
    let seen = |dir: &Path| !spec.data_dir.starts_with(dir);
    let system = SYSTEM_DIRS.iter().map(|dir| Path::new("/").join(dir)).filter(|dir| seen(dir));
    let kernel = ["/proc", "/sys/devices/system", "/run/systemd/resolve"].map(Into::into);
    let (writable, shown): (Vec<_>, Vec<_>) = spec.sandbox.binds.iter().partition(|bind| bind.writable);
    let read = system.chain(kernel).chain(shown.into_iter().map(|bind| bind.source.clone()));
    let devices = ["null", "zero", "full", "random", "urandom", "tty", "shm", "pts", "ptmx"];
    let write = devices
        .iter()
        .map(|name| Path::new("/dev").join(name))
        .chain([spec.sandbox.upper.clone()])
        .chain(writable.into_iter().map(|bind| bind.source.clone()));
    Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(abi))?
        .scope(Scope::AbstractUnixSocket | Scope::Signal)?
        .create()?
        .add_rules(path_beneath_rules(read, AccessFs::from_read(abi)))?
        .add_rules(path_beneath_rules(write, AccessFs::from_all(abi)))?
        .restrict_self()?;
    Ok(())
}

/// Forbids system calls that a command without rights has no use for, and that have let others out of sandboxes.
fn filter_system_calls() -> Result<()> {
    let mut forbidden: BTreeMap<i64, Vec<SeccompRule>> = FORBIDDEN.iter().map(|call| (*call, Vec::new())).collect();
    let new_user = u64::from(libc::CLONE_NEWUSER.cast_unsigned());
    let is_new_user = SeccompCondition::new(0, SeccompCmpArgLen::Dword, SeccompCmpOp::MaskedEq(new_user), new_user)?;
    forbidden.insert(libc::SYS_clone, vec![SeccompRule::new(vec![is_new_user])?]);
    apply(forbidden, libc::EPERM)?;
    // A filter cannot look into the argument of clone3; told that it does not exist, libraries fall back to clone.
    apply([libc::SYS_clone3, libc::SYS_io_uring_setup].map(|call| (call, Vec::new())).into(), libc::ENOSYS)
}

fn apply(calls: BTreeMap<i64, Vec<SeccompRule>>, errno: i32) -> Result<()> {
    let refuse = SeccompAction::Errno(errno.cast_unsigned());
    let arch = std::env::consts::ARCH.try_into()?;
    let program: BpfProgram = SeccompFilter::new(calls, SeccompAction::Allow, refuse, arch)?.try_into()?;
    seccompiler::apply_filter(&program).context("cannot apply the seccomp filter")
}

const FORBIDDEN: &[i64] = &[
    // Mounts and namespaces
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_unshare,
    libc::SYS_setns,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_open_tree,
    libc::SYS_move_mount,
    libc::SYS_mount_setattr,
    libc::SYS_open_by_handle_at,
    // Other processes
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_pidfd_getfd,
    libc::SYS_kcmp,
    // The kernel itself
    libc::SYS_kexec_load,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_keyctl,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_syslog,
    libc::SYS_reboot,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_acct,
    libc::SYS_quotactl,
    // The machine
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_adjtimex,
    libc::SYS_clock_adjtime,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_kexec_file_load,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_iopl,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_ioperm,
];
