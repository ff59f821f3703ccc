//! How QEMU is started.
//!
//! In: a [`Machine`]. Out: arguments; a pure function, so that every default stands in this file and is tested without
//! QEMU. Next to read: `guest.rs`, which starts it.

use std::ffi::OsString;
use std::path::PathBuf;

use crate::arch::Arch;
use crate::nic::{self, Nic};

/// A guest's memory when nothing asks for more, in MiB. 96 is the least that the kernels tested boot with.
pub const MEMORY_MB: u64 = 256;

/// What a guest looks like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Machine {
    /// Which machine.
    pub arch: Arch,
    /// `vmlinux`, which QEMU starts directly (PVH), or a bzImage; of ARM the image as it was shipped.
    pub kernel: PathBuf,
    /// The root file system.
    pub initrd: PathBuf,
    /// Memory in MiB.
    pub memory_mb: u64,
    /// Processors. More than one costs boot time under emulation and gives a test nothing but races.
    pub cpus: u32,
    /// Network cards. Each sees what the others send, and nothing else.
    pub nics: Vec<Nic>,
    /// What puts a card's other end on the bridge, where they need one.
    pub bridge: PathBuf,
    /// Where the console goes; `None`: to this terminal, and there is no result stream then.
    pub console: Option<PathBuf>,
    /// Frequency of the host's processor. The emulated time stamp counter is the host's; told so, the guest need not
    /// measure it, which goes wrong on a busy host.
    pub tsc_khz: Option<u64>,
}

/// Arguments of QEMU, or of the kernel where that is a program itself.
pub fn arguments(machine: &Machine) -> Vec<OsString> {
    match machine.arch {
        Arch::X86_64 | Arch::Aarch64 => of_qemu(machine),
        Arch::Um => of_program(machine),
    }
}

/// QEMU's arguments.
fn of_qemu(machine: &Machine) -> Vec<OsString> {
    let mut list: Vec<OsString> = Vec::new();
    let mut add = |words: &[&str]| list.extend(words.iter().map(OsString::from));
    // Nothing that is not named here, and no file of the user's.
    add(&["-nodefaults", "-no-user-config", "-display", "none", "-monitor", "none", "-nic", "none"]);
    // A guest that reboots has panicked; it ends instead. This is QEMU's exit status 0: see `guest.rs`.
    add(&["-no-reboot"]);
    match machine.arch {
        Arch::Aarch64 => add(&["-M", "virt", "-accel", "tcg", "-cpu", "cortex-a57"]),
        // Not `microvm`: it saves 0.2 s, has no timer that works under load, and half of its boots hang.
        // Without page tables of five levels, each of which costs an emulated processor's every miss; and without the claim
        // to be quick at `rep movsb`, for which a kernel copies and clears memory byte by byte; and without global pages: QEMU
        // knows none, and forgets all translations twice where the kernel wants to be rid of those.
        _ => add(&["-M", "pc", "-accel", "tcg", "-cpu", "max,la57=off,erms=off,fsrm=off,pge=off"]),
    }
    add(&["-smp", &machine.cpus.to_string(), "-m", &machine.memory_mb.to_string()]);
    list.extend(nic::arguments(&machine.nics, &machine.bridge).into_iter().map(OsString::from));
    let mut path = |name: &str, path: OsString| {
        list.push(name.into());
        list.push(path);
    };
    path("-kernel", machine.kernel.clone().into());
    path("-initrd", machine.initrd.clone().into());
    path("-append", command_line(machine).into());
    match &machine.console {
        Some(console) => {
            let mut file = OsString::from("file,id=console,path=");
            // A comma in a path is doubled for QEMU's option parser.
            file.push(console.to_string_lossy().replace(',', ",,"));
            path("-chardev", file);
            path("-serial", "chardev:console".into());
            path("-chardev", "stdio,id=results,signal=off".into());
            match machine.arch {
                Arch::Aarch64 => path("-device", "pci-serial,chardev=results".into()),
                _ => path("-serial", "chardev:results".into()),
            }
        }
        None => {
            path("-chardev", "stdio,id=console,signal=off".into());
            path("-serial", "chardev:console".into());
            path("-serial", "null".into());
        }
    }
    list
}

/// Arguments of User-mode Linux. Its ports are descriptors of the process: results leave by its standard output; the
/// console, and what it says before it has one, by standard error.
fn of_program(machine: &Machine) -> Vec<OsString> {
    let mut list = vec![OsString::from(format!("mem={}M", machine.memory_mb))];
    let mut initrd = OsString::from("initrd=");
    initrd.push(&machine.initrd);
    list.push(initrd);
    let ports: &[&str] = match machine.console {
        Some(_) => &["con=null", "con0=null,fd:2", "ssl=null", "ssl1=null,fd:1"],
        None => &["con=null", "con0=fd:0,fd:1", "ssl=null"],
    };
    let words = ["rdinit=/init", "console=tty0", "panic=-1", "quiet", "loglevel=5"];
    list.extend(words.iter().chain(ports).map(OsString::from));
    list
}

/// The kernel's command line.
fn command_line(machine: &Machine) -> String {
    let console = match machine.arch {
        Arch::Aarch64 => "ttyAMA0",
        _ => "ttyS0",
    };
    let mut words = vec![
        format!("console={console}"),
        // A panic reboots at once, and so ends QEMU.
        "panic=-1".to_owned(),
        // Warnings and worse reach the console.
        "quiet".to_owned(),
        "loglevel=5".to_owned(),
        // Without it the kernels have BPF LSM programs but never call them.
        "lsm=bpf".to_owned(),
    ];
    if machine.arch == Arch::X86_64 {
        // Under emulation these cost a fifth of all time and protect nobody: clearing pages that are handed out, and
        // indirect calls by a detour. The verifier's own care against speculation stays as it is: `mitigations=off` would
        // change its verdicts.
        words.extend(["init_on_alloc=0", "spectre_v2=off", "retbleed=off"].map(str::to_owned));
        // Who waits for the last reader of something waits a jiffy or more on an idle machine, and most tests do: the kernel
        // is told to hurry. Nobody reads its account of pressure, which it keeps at each change of tasks.
        words.extend(["rcupdate.rcu_expedited=1", "psi=0"].map(str::to_owned));
        // A quarter of the boot: to patch ten thousand `lock` prefixes away, which cost nothing here, each with two changes of
        // page tables; and to try ciphers, a source of chance and certificates.
        words.extend(["noreplace-smp", "cryptomgr.notests"].map(str::to_owned));
        words.push("initcall_blacklist=jent_mod_init,load_system_certificate_list".to_owned());
        // QEMU translates code by its address: a program that lies elsewhere each time is translated each time.
        words.push("norandmaps".to_owned());
        // Under emulation on a busy host the check of the timer fails although the timer works.
        words.push("no_timer_check".to_owned());
        words.extend(machine.tsc_khz.map(|khz| format!("tsc_early_khz={khz}")));
    }
    words.join(" ")
}

/// Frequency of this machine's processor in kHz, from the text of `/proc/cpuinfo`.
pub fn tsc_khz(cpuinfo: &str) -> Option<u64> {
    let line = cpuinfo.lines().find(|line| line.starts_with("cpu MHz"))?;
    let (_, mhz) = line.split_once(':')?;
    let (whole, part) = mhz.trim().split_once('.').unwrap_or((mhz.trim(), "0"));
    let thousandths: String = part.chars().chain("000".chars()).take(3).collect();
    Some(whole.parse::<u64>().ok()? * 1000 + thousandths.parse::<u64>().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine() -> Machine {
        Machine {
            arch: Arch::X86_64,
            kernel: "/k/vmlinux".into(),
            initrd: "/i,1.cpio".into(),
            memory_mb: 256,
            cpus: 1,
            nics: Vec::new(),
            bridge: "/out/bridge".into(),
            console: Some("/out/a,b.log".into()),
            tsc_khz: Some(2_596_120),
        }
    }

    fn text(machine: &Machine) -> String {
        let words: Vec<_> = arguments(machine).into_iter().map(|word| word.to_string_lossy().into_owned()).collect();
        words.join(" ")
    }

    #[test]
    fn arguments_of_a_test_guest() {
        let want = "-nodefaults -no-user-config -display none -monitor none -nic none -no-reboot -M pc -accel tcg \
                    -cpu max,la57=off,erms=off,fsrm=off,pge=off -smp 1 -m 256 -kernel /k/vmlinux -initrd \
                    /i,1.cpio -append console=ttyS0 panic=-1 quiet loglevel=5 lsm=bpf init_on_alloc=0 \
                    spectre_v2=off retbleed=off rcupdate.rcu_expedited=1 psi=0 noreplace-smp cryptomgr.notests \
                    initcall_blacklist=jent_mod_init,load_system_certificate_list norandmaps no_timer_check \
                    tsc_early_khz=2596120 -chardev file,id=console,path=/out/a,,b.log -serial chardev:console \
                    -chardev stdio,id=results,signal=off -serial chardev:results";
        assert_eq!(text(&machine()), want);
    }

    #[test]
    fn an_interactive_guest_has_the_terminal() {
        let text = text(&Machine { console: None, tsc_khz: None, ..machine() });
        assert!(text.contains("-chardev stdio,id=console") && !text.contains("id=results"), "{text}");
        assert!(!text.contains("tsc_early_khz"), "{text}");
    }

    #[test]
    fn an_arm_guest_has_its_results_on_the_pci_bus() {
        let text = text(&Machine { arch: Arch::Aarch64, kernel: "/k/image".into(), ..machine() });
        let results = "-chardev stdio,id=results,signal=off -device pci-serial,chardev=results";
        assert!(text.contains("-M virt") && text.contains("console=ttyAMA0") && text.ends_with(results), "{text}");
        assert!(!text.contains("tsc_early_khz"), "{text}");
    }

    #[test]
    fn a_kernel_that_is_a_program_has_its_results_on_standard_output() {
        let machine = Machine { arch: Arch::Um, ..machine() };
        let want = "mem=256M initrd=/i,1.cpio rdinit=/init console=tty0 panic=-1 quiet loglevel=5 con=null con0=null,fd:2 \
                    ssl=null ssl1=null,fd:1";
        assert_eq!(text(&machine), want);
    }

    #[test]
    fn network_cards_are_before_the_kernel() {
        let text = text(&Machine { nics: vec!["vmxnet3".parse().unwrap()], ..machine() });
        assert!(text.contains("-device vmxnet3,netdev=nic0 -kernel"), "{text}");
    }

    #[test]
    fn the_frequency_is_read() {
        for (line, want) in [
            ("cpu MHz\t\t: 2596.120", Some(2_596_120)),
            ("cpu MHz : 3000", Some(3_000_000)),
            ("cpu MHz : 1.5", Some(1500)),
            ("cpu MHz : fast", None),
            ("model name : x", None),
        ] {
            assert_eq!(tsc_khz(&format!("processor : 0\n{line}\n")), want, "{line}");
        }
    }
}
