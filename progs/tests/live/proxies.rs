//! Proxies of others, as they are installed: Go's, which splice or copy as their library has it, HAProxy, which splices if it is told to,
//! socat, which reads and writes. What they carry arrives as on plain TCP, closes included.
//!
//! Debian: `caddy hey`, `docker.io` (its `docker-proxy`), `haproxy`, `socat`. As in `programs.rs`, what is not installed is not judged.

use std::net::TcpListener;
use std::process::Command;

use progs::bypass::quarantine::Misfit;
use traffic::soak::connection;

use crate::programs::{AT, Outcome, Scratch, Server, fetched, judge, pid, said, seconds, watched};
use crate::rig::Rig;

/// Where proxies carry to.
const BEHIND: &str = "127.0.0.1:7002";

/// Conversations through a proxy.
const CARRIED: u64 = 40;

/// What goes wrong with what it carries, and how much was redirected meanwhile.
fn carries(rig: &Rig, proxy: &mut Command) -> (String, u64) {
    let proxy = Server::start(proxy);
    let listener = TcpListener::bind(BEHIND).expect("the port is free here");
    let to = AT.parse().expect("an address");
    let (wrong, redirected) = watched(rig, pid(&proxy.0), || {
        (0..CARRIED).flat_map(|seed| connection(&listener, to, seed)).collect::<Vec<_>>()
    });
    (format!("wrong with {CARRIED} conversations: {wrong:?}"), redirected)
}

/// Whether somebody is in quarantine because he splices; true where nobody looks.
fn is_held(rig: &Rig, command: &str) -> bool {
    let Some(ours) = rig.ours.as_ref().filter(|ours| rig.counted() && ours.loaded().prog("spliced").is_ok()) else {
        return true;
    };
    let held = ours.quarantine().expect("it can be read");
    held.iter().any(|(who, held)| who.comm.to_string() == command && held.misfit == Misfit::Splice.number())
}

fn docker_proxy(rig: &mut Rig) -> Outcome {
    // It tells on its third descriptor that it listens.
    let mut proxy = Command::new("sh");
    proxy.args([
        "-c",
        "exec docker-proxy -proto tcp -host-ip 127.0.0.1 -host-port 7001 -container-ip 127.0.0.1 -container-port 7002 3>/dev/null",
    ]);
    let (text, redirected) = carries(rig, &mut proxy);
    assert!(is_held(rig, "docker-proxy"), "it splices");
    (text, redirected > 0, redirected > 0)
}

#[test]
fn dockers_own_proxy() {
    judge(&["docker-proxy"], docker_proxy);
}

const HAPROXY: &str = "global
defaults
  mode tcp
  timeout connect 30s
  timeout client 30s
  timeout server 30s
  option splice-request
  option splice-response
listen relay
  bind 127.0.0.1:7001
  server one 127.0.0.1:7002
";

fn haproxy(rig: &mut Rig) -> Outcome {
    let scratch = Scratch::new("haproxy");
    let config = scratch.file("haproxy.cfg", HAPROXY.as_bytes());
    let (text, redirected) = carries(rig, Command::new("haproxy").arg("-db").arg("-f").arg(config));
    (text, redirected > 0, redirected > 0)
}

#[test]
fn haproxy_that_splices() {
    judge(&["haproxy"], haproxy);
}

fn socat(rig: &mut Rig) -> Outcome {
    let mut proxy = Command::new("socat");
    proxy.args(["-t", "30", "TCP-LISTEN:7001,bind=127.0.0.1,fork,reuseaddr", &format!("TCP:{BEHIND}")]);
    let (text, redirected) = carries(rig, &mut proxy);
    (text, redirected > 0, rig.counted())
}

#[test]
fn socat_as_a_relay() {
    judge(&["socat"], socat);
}

const CADDY: &str = "{
  admin off
  auto_https off
}
http://:7001 {
  bind 127.0.0.1
  handle_path /via/* {
    reverse_proxy 127.0.0.1:7001
  }
  handle {
    root * ROOT
    file_server
  }
}
";

/// A server of files, a proxy to itself, and a client, all in Go.
fn caddy(rig: &mut Rig) -> Outcome {
    let scratch = Scratch::new("caddy");
    let file: Vec<u8> = (0..300_000_u32).map(|i| i.to_le_bytes()[0] ^ i.to_le_bytes()[1]).collect();
    scratch.file("file", &file);
    scratch.file("small", b"small");
    let config = scratch.file("Caddyfile", CADDY.replace("ROOT", &scratch.0.display().to_string()).as_bytes());
    let mut server = Command::new("caddy");
    server.args(["run", "--adapter", "caddyfile", "--config"]).arg(config).env("HOME", &scratch.0);
    let _server = Server::start(&mut server);
    let (mut text, mut redirected) = (String::new(), 0);
    for path in ["/small", "/file", "/via/small", "/via/file"] {
        let wanted = if path.ends_with("small") { &b"small"[..] } else { &file };
        assert!(fetched(path) == wanted, "{path}: other bytes");
        let mut hey = Command::new("hey");
        let (figures, went) =
            said(rig, hey.args(["-z", &format!("{}s", seconds()), "-c", "8", &format!("http://{AT}{path}")]), b"");
        redirected += went;
        let statuses =
            figures.lines().filter(|line| line.contains("responses")).filter_map(|line| line.split_whitespace().next());
        text += &format!("{path}: {:?}, errors {}\n", statuses.collect::<Vec<_>>(), figures.contains("Error"));
    }
    (text, redirected > 0, rig.counted())
}

#[test]
fn go_caddy_and_hey() {
    judge(&["caddy", "hey"], caddy);
}
