//! Two ends of a connection over loopback.
//!
//! Stage: test support. Input: nothing, or an end. Output: connected sockets, which do not wait for more bytes before they send; bytes.
//! Next file to read: `storm.rs`.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};

/// A connection: client, server.
#[must_use]
pub fn connection() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let client = connect(listener.local_addr().expect("its address"));
    (client, accept(&listener))
}

/// A connection on which each end has read something: whatever will be redirected, is from now on.
#[must_use]
pub fn talking() -> (TcpStream, TcpStream) {
    let (mut client, mut server) = connection();
    greet(&mut client, &mut server);
    (client, server)
}

/// A client's end.
#[must_use]
pub fn connect(to: SocketAddr) -> TcpStream {
    prepared(TcpStream::connect(to).expect("somebody listens"))
}

/// A server's end.
#[must_use]
pub fn accept(listener: &TcpListener) -> TcpStream {
    prepared(listener.accept().expect("somebody connects").0)
}

fn prepared(stream: TcpStream) -> TcpStream {
    stream.set_nodelay(true).expect("it is TCP");
    stream
}

/// Two messages each way.
pub fn greet(client: &mut TcpStream, server: &mut TcpStream) {
    for _ in 0..2 {
        exchange(client, server, b"hello");
        exchange(server, client, b"world");
    }
}

/// Sends `bytes` and reads them at the other end.
pub fn exchange(from: &mut TcpStream, to: &mut TcpStream, bytes: &[u8]) {
    from.write_all(bytes).expect("it is taken");
    assert_eq!(read_exactly(to, bytes.len()), bytes);
}

/// The next so many bytes.
#[must_use]
pub fn read_exactly(from: &mut TcpStream, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    from.read_exact(&mut bytes).expect("they come");
    bytes
}
