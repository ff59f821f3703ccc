//! Programs of others, as they are installed: with ours they say what they say on plain TCP, and their bytes are redirected.
//!
//! Each needs its program (Debian: `redis-server redis-tools`, `nginx-light wrk`, `postgresql postgresql-contrib`, `default-jdk-headless`);
//! where it is not installed, which is so in guests, the test says so and judges nothing. Nothing here installs anything, listens outside
//! of its own network namespace, or lives longer than its test. `BYPASS_PROGRAMS_SECONDS` has the clients that run for a time run longer.

use std::collections::BTreeMap;
use std::io::Write;
use std::net::TcpStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, User};
use progs::bypass::policy::Rule;
use progs::bypass::probe;
use progs::bypass::rules::Subject;

use crate::rig::{Rig, plain_and_ours, rounds};

/// Where servers listen, in the test's namespace.
const PORT: u16 = 7001;
pub(crate) const AT: &str = "127.0.0.1:7001";

/// A bound for whatever a program does.
pub(crate) const BOUND: Duration = Duration::from_secs(60);

/// Where a program is, if it is.
pub(crate) fn installed(name: &str) -> Option<PathBuf> {
    let own = std::env::var_os("PATH").unwrap_or_default();
    let postgres = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let directories = std::env::split_paths(&own).chain(postgres.map(|version| version.path().join("bin")));
    directories.map(|directory| directory.join(name)).find(|path| path.is_file())
}

/// A directory of the test's own, which goes with it.
pub(crate) struct Scratch(pub(crate) PathBuf);

impl Scratch {
    pub(crate) fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("bp-{name}-{}", std::process::id()));
        let _left = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).expect("there is room");
        Self(path)
    }

    pub(crate) fn file(&self, name: &str, text: &[u8]) -> PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, text).expect("there is room");
        path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _removed = std::fs::remove_dir_all(&self.0);
    }
}

/// A server that runs; it is asked to end, and then made to.
pub(crate) struct Server(pub(crate) Child);

impl Server {
    pub(crate) fn start(command: &mut Command) -> Self {
        let quiet = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut server = Self(quiet.spawn().expect("it is installed"));
        let begun = Instant::now();
        while !listens() {
            let ended = server.0.try_wait().expect("it is our child");
            assert!(ended.is_none() && begun.elapsed() < BOUND, "{command:?} does not listen: {ended:?}");
            thread::sleep(Duration::from_millis(10));
        }
        server
    }
}

/// Whether somebody listens at [`PORT`] in this namespace. A connection that asks would be one more for a proxy to carry.
fn listens() -> bool {
    const LISTEN: &str = "0A";
    let texts = ["tcp", "tcp6"].map(|file| std::fs::read_to_string(format!("/proc/thread-self/net/{file}")));
    let port = format!(":{PORT:04X}");
    let is_it = |line: &str| {
        let mut words = line.split_whitespace().skip(1);
        words.next().is_some_and(|local| local.ends_with(&port)) && words.nth(1) == Some(LISTEN)
    };
    texts.iter().flatten().any(|text| text.lines().any(is_it))
}

impl Drop for Server {
    fn drop(&mut self) {
        let _asked = kill(pid(&self.0), Signal::SIGINT);
        let begun = Instant::now();
        while self.0.try_wait().is_ok_and(|ended| ended.is_none()) {
            if begun.elapsed() > Duration::from_secs(5) {
                let _made = self.0.kill();
            }
            thread::sleep(Duration::from_millis(5));
        }
    }
}

/// What a client says, given that on its standard input; and the bytes redirected while it ran, for or by whomever.
pub(crate) fn said(rig: &Rig, command: &mut Command, input: &[u8]) -> (String, u64) {
    let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut client = piped.spawn().expect("it is installed");
    client.stdin.take().expect("it is piped").write_all(input).expect("it is taken");
    let pid = pid(&client);
    let (output, redirected) = watched(rig, pid, move || client.wait_with_output().expect("it is our child"));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {}, {:.2000}, {errors:.2000}", output.status, text);
    (text, redirected)
}

/// What comes of something that a process may keep from its end, which is killed then; and the bytes redirected meanwhile.
pub(crate) fn watched<T: Send>(rig: &Rig, pid: Pid, work: impl FnOnce() -> T + Send) -> (T, u64) {
    thread::scope(|scope| {
        let ending = scope.spawn(work);
        let (begun, mut redirected) = (Instant::now(), BTreeMap::new());
        while !ending.is_finished() {
            if let Some(ours) = &rig.ours {
                let inboxes = ours.inboxes().expect("they can be walked");
                redirected.extend(inboxes.into_iter().map(|(key, inbox)| (key, inbox.redirected)));
            }
            if begun.elapsed() > BOUND {
                let _made = kill(pid, Signal::SIGKILL);
            }
            thread::sleep(Duration::from_millis(2));
        }
        (ending.join().expect("it does not panic"), redirected.values().sum())
    })
}

pub(crate) fn pid(child: &Child) -> Pid {
    Pid::from_raw(i32::try_from(child.id()).expect("it is a pid"))
}

/// What comes of a program: what it says in the end, whether bytes were redirected, and whether they could be.
pub(crate) type Outcome = (String, bool, bool);

/// The program says the same on plain TCP and with ours, and is accelerated.
pub(crate) fn judge(needs: &[&str], scenario: fn(&mut Rig) -> Outcome) {
    if let Some(missing) = needs.iter().find(|name| installed(name).is_none()) {
        return println!("not installed, and not judged: {missing}");
    }
    let [plain, ours] = plain_and_ours(scenario);
    println!("{}", ours.0);
    assert_eq!(ours.0, plain.0);
    assert_eq!((plain.1, ours.1), (false, ours.2), "it is redirected where it can be");
}

pub(crate) fn seconds() -> String {
    rounds("BYPASS_PROGRAMS_SECONDS", 1).to_string()
}

fn redis(rig: &mut Rig) -> Outcome {
    let scratch = Scratch::new("redis");
    let mut server = Command::new("redis-server");
    let _server =
        Server::start(server.args(["--port", "7001", "--bind", "127.0.0.1", "--save", ""]).current_dir(&scratch.0));
    let mut benchmark = Command::new("redis-benchmark");
    benchmark.args([
        "-p",
        "7001",
        "-c",
        "10",
        "-n",
        "2000",
        "-r",
        "100",
        "-d",
        "700",
        "-t",
        "ping,set,get,lpush,lrange_100",
        "--csv",
    ]);
    let (figures, redirected) = said(rig, &mut benchmark, b"");
    let cases: Vec<_> = figures.lines().filter_map(|line| line.split(',').next()).collect();
    let value: String = (0..50_000).map(|i: u32| char::from(b'a' + (i % 23).to_le_bytes()[0])).collect();
    let script =
        format!("set big {value}\nget big\nappend big {value}\nstrlen big\nllen mylist\ngetrange big 49990 50010\n");
    let (answers, _) = said(rig, Command::new("redis-cli").args(["-p", "7001"]), script.as_bytes());
    assert!(answers.contains(&value), "the whole value comes back");
    (cases.join(" ") + &answers.replace(&value, " (the value) "), redirected > 0, rig.counted())
}

#[test]
fn redis_and_its_benchmark() {
    judge(&["redis-server", "redis-benchmark", "redis-cli"], redis);
}

/// The whole answer to one request, by HTTP.
pub(crate) fn fetched(path: &str) -> Vec<u8> {
    use std::io::Read;
    let mut client = TcpStream::connect(AT).expect("it listens");
    client.set_read_timeout(Some(BOUND)).expect("a while");
    write!(client, "GET {path} HTTP/1.0\r\n\r\n").expect("it is taken");
    let mut answer = Vec::new();
    client.read_to_end(&mut answer).expect("the end comes");
    let body = answer.windows(4).position(|end| end == b"\r\n\r\n").expect("a header ends") + 4;
    answer.split_off(body)
}

/// One process: a server of files, and a proxy to itself.
const NGINX: &str = "daemon off; master_process off; pid nginx.pid; error_log stderr; user root;
events { worker_connections 256; }
http { access_log off; sendfile on; client_body_temp_path body; proxy_temp_path proxy; keepalive_requests 1000000;
  fastcgi_temp_path fastcgi; uwsgi_temp_path uwsgi; scgi_temp_path scgi;
  server { listen 127.0.0.1:7001; root .; location /via/ { proxy_pass http://127.0.0.1:7001/; } } }";

/// Where `FIONREAD` does not see what comes by TCP to an enrolled socket, nginx as a proxy waits for bytes that are there: it has to be
/// left with TCP, by a rule.
fn deny_where_fionread_is_wrong(rig: &Rig) -> bool {
    let Some(ours) = &rig.ours else { return false };
    let right = probe::run().unwrap_or_else(|error| panic!("{error:?}")).choice.fionread;
    if !right {
        let nginx = Subject::Command("nginx".to_owned());
        ours.rule(&nginx, Rule::Deny).unwrap_or_else(|error| panic!("{error:?}"));
    }
    right
}

fn nginx(rig: &mut Rig) -> Outcome {
    let allowed = deny_where_fionread_is_wrong(rig);
    let scratch = Scratch::new("nginx");
    let file: Vec<u8> = (0..300_000_u32).map(|i| i.to_le_bytes()[0] ^ i.to_le_bytes()[1]).collect();
    scratch.file("file", &file);
    scratch.file("small", b"small");
    let root = format!("root {};", scratch.0.display());
    let config = scratch.file("nginx.conf", NGINX.replace("root .;", &root).as_bytes());
    let mut server = Command::new(installed("nginx").expect("it is"));
    let _server = Server::start(server.arg("-p").arg(&scratch.0).arg("-c").arg(config));
    for path in ["/small", "/file", "/via/small", "/via/file"] {
        let wanted = if path.ends_with("small") { &b"small"[..] } else { &file };
        assert!(fetched(path) == wanted, "{path}: other bytes");
    }
    let (mut text, mut redirected) = (String::new(), 0);
    for path in ["/file", "/via/file"] {
        let mut wrk = Command::new("wrk");
        let (figures, went) = said(rig, wrk.args(["-t1", "-c8", "-d", &seconds(), &format!("http://{AT}{path}")]), b"");
        redirected += went;
        let wrong: Vec<_> =
            figures.lines().filter(|line| line.contains("errors") || line.contains("Non-2xx")).collect();
        text += &format!("{path}: errors {wrong:?}\n");
    }
    (text, redirected > 0, rig.counted() && allowed)
}

#[test]
fn nginx_and_wrk() {
    judge(&["nginx", "wrk"], nginx);
}

/// A program of PostgreSQL's, which does not run as root.
fn of_postgres(name: &str, user: &User) -> Command {
    let mut command = Command::new(installed(name).expect("it is"));
    command.uid(user.uid.as_raw()).gid(user.gid.as_raw()).current_dir("/");
    command
}

fn postgres(rig: &mut Rig) -> Outcome {
    let scratch = Scratch::new("postgres");
    let user = User::from_name("postgres").ok().flatten().expect("its package makes the user");
    nix::unistd::chown(&scratch.0, Some(user.uid), Some(user.gid)).expect("we are root");
    let data = scratch.0.join("data");
    let mut init = of_postgres("initdb", &user);
    said(rig, init.arg("-D").arg(&data).args(["-A", "trust", "--no-sync", "-U", "postgres"]), b"");
    let mut server = of_postgres("postgres", &user);
    let settings =
        ["listen_addresses=127.0.0.1", "unix_socket_directories=", "fsync=off", "dynamic_shared_memory_type=mmap"];
    let settings = settings.iter().flat_map(|setting| ["-c", setting]);
    let _server = Server::start(server.arg("-D").arg(data).args(["-p", "7001"]).args(settings));
    let client = |name| {
        let mut command = of_postgres(name, &user);
        command.args(["-h", "127.0.0.1", "-p", "7001", "-U", "postgres"]);
        command
    };
    ready(|| client("psql").args(["-c", "select 1"]).output().is_ok_and(|output| output.status.success()));
    said(rig, client("pgbench").args(["-i", "-q", "-s", "1", "postgres"]), b"");
    let mut bench = client("pgbench");
    let (figures, redirected) = said(rig, bench.args(["-n", "-c", "4", "-T", &seconds(), "postgres"]), b"");
    let failed = figures.lines().find(|line| line.contains("failed transactions")).unwrap_or_default().to_owned();
    // What clients have changed together is what they have written down; and an answer that is larger than a queue.
    let sums = "select (select sum(abalance) from pgbench_accounts) = (select sum(delta) from pgbench_history)";
    let (same, _) = said(rig, client("psql").args(["-At", "-c", sums, "postgres"]), b"");
    let large = "select repeat(md5(i::text), 20) from generate_series(1, 2000) i";
    let (large, _) = said(rig, client("psql").args(["-At", "-c", large, "postgres"]), b"");
    let sum = large.bytes().fold(0_u32, |sum, byte| sum.rotate_left(5) ^ u32::from(byte));
    (format!("{failed}\nas written down: {same}{} bytes, sum {sum:x}", large.len()), redirected > 0, rig.counted())
}

fn ready(answers: impl Fn() -> bool) {
    let begun = Instant::now();
    while !answers() {
        assert!(begun.elapsed() < BOUND, "it does not answer");
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn postgresql_and_pgbench() {
    judge(&["postgres", "initdb", "psql", "pgbench"], postgres);
}

/// A server by non-blocking channels and a client by streams, in one process.
const JAVA: &str = include_str!("Echo.java");

fn java(rig: &mut Rig) -> Outcome {
    let scratch = Scratch::new("java");
    let source = scratch.file("Echo.java", JAVA.as_bytes());
    let mut echo = Command::new("java");
    let (text, redirected) = said(
        rig,
        echo.args(["-Xshare:auto", "-XX:TieredStopAtLevel=1"]).arg(Path::new(&source)).arg(PORT.to_string()),
        b"",
    );
    (text, redirected > 0, rig.counted())
}

#[test]
fn java_channels_and_streams() {
    judge(&["java", "javac"], java);
}
