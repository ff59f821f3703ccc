//! Network cards of a guest: who they are, and the wire between them.
//!
//! In: `MODEL` or `MODEL:QUEUES`, as `--nic` takes it. Out: arguments of QEMU. The cards of a guest see each other and nobody
//! else: they are on a hub of QEMU's own; cards with several queues, which no hub has, are on a bridge in a network namespace
//! of QEMU's own. The machine's network is never involved. Next to read: `qemu.rs`.

use std::path::Path;
use std::process::Command;
use std::str::FromStr;

use anyhow::{Context, Result, bail, ensure};
use nix::unistd::geteuid;
use serde::Deserialize;

use crate::tools;

/// A network card.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Nic {
    /// QEMU's name of the model, for example `virtio-net-pci`.
    pub model: String,
    /// Pairs of queues.
    pub queues: u32,
}

impl FromStr for Nic {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let (model, queues) = text.split_once(':').unwrap_or((text, "1"));
        let queues = queues.parse().ok().filter(|queues| (1..=64).contains(queues));
        let queues = queues.with_context(|| format!("`{text}`: after the colon stand 1 to 64 queues"))?;
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        ensure!(!model.is_empty() && model.chars().all(plain), "`{text}` is no model of QEMU's");
        Ok(Self { model: model.to_owned(), queues })
    }
}

impl TryFrom<String> for Nic {
    type Error = anyhow::Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

/// True when a hub does not do.
pub fn need_bridge(nics: &[Nic]) -> bool {
    nics.iter().any(|nic| nic.queues > 1)
}

/// Processors that the guest needs: a driver has no use for more queues than those.
pub fn cpus(nics: &[Nic]) -> u32 {
    if need_bridge(nics) { 2 } else { 1 }
}

/// QEMU's arguments for the cards; `script` puts an interface of this machine on the bridge: see [`BRIDGE`].
pub fn arguments(nics: &[Nic], script: &Path) -> Vec<String> {
    let mut words = Vec::new();
    for (index, Nic { model, queues }) in nics.iter().enumerate() {
        let script = script.to_string_lossy().replace(',', ",,");
        let (wire, card) = if need_bridge(nics) {
            let vectors = 2 * queues + 2;
            let several = if *queues > 1 { format!(",mq=on,vectors={vectors}") } else { String::new() };
            let wire =
                format!("tap,id=nic{index},ifname=nic{index},queues={queues},vhost=off,script={script},downscript=no");
            (wire, format!("{model},netdev=nic{index}{several}"))
        } else {
            (format!("hubport,id=nic{index},hubid=0"), format!("{model},netdev=nic{index}"))
        };
        words.extend(["-netdev".to_owned(), wire, "-device".to_owned(), card]);
    }
    words
}

/// What QEMU runs for each interface, with its name: all of them are on one bridge.
pub const BRIDGE: &str = "#!/bin/sh -eu\nip link show wire >/dev/null 2>&1 || ip link add wire type bridge\n\
                          ip link set wire up\nip link set \"$1\" master wire up\n";

/// Sees to it that QEMU knows the models.
///
/// # Errors
/// It does not know one, or does not say which it knows.
pub fn check(qemu: &Path, nics: &[Nic]) -> Result<()> {
    for Nic { model, .. } in nics {
        // One that it does not know is no failure of QEMU's: it only has nothing to tell of it.
        let said = Command::new(qemu).args(["-device", &format!("{model},help")]).output();
        let said = said.with_context(|| format!("start {}", qemu.display()))?;
        ensure!(
            String::from_utf8_lossy(&said.stdout).contains(&format!("{model} options:")),
            "this machine's QEMU has no network card `{model}`: a younger one may, for example that of Debian's backports \
             (apt-get install -t bookworm-backports qemu-system-x86)"
        );
    }
    Ok(())
}

/// The words before QEMU's that give it a network namespace of its own.
///
/// # Errors
/// This machine lacks a program for it; the text says which.
pub fn apart() -> Result<Vec<&'static str>> {
    for program in ["unshare", "ip"] {
        if tools::find(program).is_none() {
            bail!("network cards with several queues need the program {program}: apt-get install util-linux iproute2");
        }
    }
    // Whoever is not root is root in a user namespace, and there may make interfaces.
    let user = (!geteuid().is_root()).then_some("--map-root-user");
    Ok(["unshare", "--net"].into_iter().chain(user).chain(["--"]).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cards_are_on_a_hub_or_on_a_bridge() {
        let nics = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect::<Vec<Nic>>();
        let words = |texts: &[&str]| arguments(&nics(texts), Path::new("/o/a,b")).join(" ");
        assert_eq!(
            words(&["virtio-net-pci", "vmxnet3"]),
            "-netdev hubport,id=nic0,hubid=0 -device virtio-net-pci,netdev=nic0 \
             -netdev hubport,id=nic1,hubid=0 -device vmxnet3,netdev=nic1"
        );
        assert_eq!(
            words(&["virtio-net-pci:4", "e1000"]),
            "-netdev tap,id=nic0,ifname=nic0,queues=4,vhost=off,script=/o/a,,b,downscript=no \
             -device virtio-net-pci,netdev=nic0,mq=on,vectors=10 \
             -netdev tap,id=nic1,ifname=nic1,queues=1,vhost=off,script=/o/a,,b,downscript=no -device e1000,netdev=nic1"
        );
        assert_eq!(words(&[]), "");
    }

    #[test]
    fn what_is_no_card_is_told() {
        for (text, want) in
            [("a:0", "1 to 64 queues"), ("a:x", "1 to 64 queues"), ("a,id=b", "no model"), ("", "no model")]
        {
            let error = text.parse::<Nic>().unwrap_err().to_string();
            assert!(error.contains(want), "{text}: {error}");
        }
    }

    #[test]
    fn a_card_that_qemu_does_not_have_is_told_with_what_to_do() {
        // In QEMU's place a program that has nothing to tell.
        let nics = ["igb".parse().unwrap()];
        let error = check(Path::new("/bin/echo"), &nics).unwrap_err().to_string();
        assert!(error.contains("has no network card `igb`") && error.contains("bookworm-backports"), "{error}");
        assert!(check(Path::new("/bin/echo"), &[]).is_ok());
    }
}
