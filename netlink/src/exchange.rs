//! Stage: one request under way, without a socket. Input: datagrams from the kernel; output: decoded [`Body`]s and the verdict,
//! or an [`Error`] with the kernel's own words.
//!
//! What is checked: sequence and port are those of the request, lengths add up, a dump is bounded. Next: `error.rs`.

use crate::error::{Error, Refusal};
use crate::wire::{Ack, AckAttr, Attribute, Body, FixedHeader, Flags, Message, Request, WireError, control, messages};

/// The most bytes one dump may have.
const MAX_DUMP: usize = 256 * 1024 * 1024;

/// What came back for one request.
#[derive(Debug)]
pub(crate) struct Answers<H, A> {
    /// The answers, in order.
    pub(crate) bodies: Vec<Body<H, A>>,
    /// A warning the kernel gave with its acknowledgement.
    pub(crate) warning: Option<String>,
}

/// One request under way.
#[derive(Debug)]
pub(crate) struct Exchange<'a, H, A> {
    request: &'a Request<H, A>,
    seq: u32,
    port: u32,
    answers: Vec<Body<H, A>>,
    /// Bytes of answers so far.
    size: usize,
    interrupted: bool,
    warning: Option<String>,
}

impl<'a, H: FixedHeader, A: Attribute> Exchange<'a, H, A> {
    /// An exchange for a request just sent with this number from this port.
    pub(crate) fn new(request: &'a Request<H, A>, seq: u32, port: u32) -> Exchange<'a, H, A> {
        Exchange { request, seq, port, answers: Vec::new(), size: 0, interrupted: false, warning: None }
    }

    /// Whether what was dumped changed meanwhile.
    pub(crate) fn is_interrupted(&self) -> bool {
        self.interrupted
    }

    /// The answers, in order.
    pub(crate) fn into_bodies(self) -> Vec<Body<H, A>> {
        self.answers
    }

    /// The answers and the warning.
    pub(crate) fn into_answers(self) -> Answers<H, A> {
        Answers { bodies: self.answers, warning: self.warning }
    }

    /// Checks, after the verdict, that nothing was dropped.
    pub(crate) fn end(self) -> Result<Self, Error> {
        match self.size > MAX_DUMP {
            true => Err(Error::TooLarge { what: self.request.what.clone(), len: self.size, limit: MAX_DUMP }),
            false => Ok(self),
        }
    }

    /// Takes one datagram; true when the verdict was in it.
    pub(crate) fn datagram(&mut self, bytes: &[u8]) -> Result<bool, Error> {
        let mut over = false;
        for message in messages(bytes) {
            over |= self.message(&message.map_err(|source| self.wire(source))?)?;
        }
        Ok(over)
    }

    /// Takes one message; true when it is the verdict.
    fn message(&mut self, message: &Message<'_>) -> Result<bool, Error> {
        let header = &message.header;
        if self.is_stale(header.seq) && header.port == self.port {
            return Ok(false);
        }
        if header.seq != self.seq || header.port != self.port {
            let (what, want_seq, want_port) = (self.request.what.clone(), self.seq, self.port);
            return Err(Error::NotOurs { what, seq: header.seq, port: header.port, want_seq, want_port });
        }
        self.interrupted |= header.flags().contains(Flags::DUMP_INTR);
        match header.kind {
            control::NOOP => Ok(false),
            control::ERROR => self.verdict(message).map(|()| true),
            control::DONE if message.payload.is_empty() => Ok(true),
            control::DONE => self.verdict(message).map(|()| true),
            _ => self.answer(message.payload).map(|()| false),
        }
    }

    /// Whether the number is that of an earlier request, whose answers nobody waited for.
    fn is_stale(&self, seq: u32) -> bool {
        let age = self.seq.wrapping_sub(seq);
        age != 0 && age < u32::MAX / 2
    }

    fn answer(&mut self, payload: &[u8]) -> Result<(), Error> {
        self.size = self.size.saturating_add(payload.len());
        if self.size <= MAX_DUMP {
            // Beyond that the rest is read and dropped, so that the socket stays usable.
            self.answers.push(Body::decode(payload).map_err(|source| self.wire(source))?);
        }
        Ok(())
    }

    fn verdict(&mut self, message: &Message<'_>) -> Result<(), Error> {
        let ack = Ack::decode(&message.header, message.payload).map_err(|source| self.wire(source))?;
        if ack.errno == 0 {
            self.warning = ack.message();
            return Ok(());
        }
        Err(Error::Refused(Box::new(self.refusal(&ack))))
    }

    fn refusal(&self, ack: &Ack) -> Refusal {
        let mut refusal = Refusal {
            what: self.request.what.clone(),
            errno: ack.errno,
            message: ack.message(),
            attribute: None,
            missing: None,
            policy: None,
        };
        let mut nest = None;
        for attr in &ack.attrs {
            match attr {
                AckAttr::Offs(offset) => refusal.attribute = self.attribute_at(*offset),
                AckAttr::MissNest(offset) => nest = self.attribute_at(*offset),
                AckAttr::Policy(policy) => refusal.policy = Some(crate::wire::printed(policy)),
                _ => {}
            }
        }
        for attr in &ack.attrs {
            if let AckAttr::MissType(kind) = attr {
                refusal.missing = Some(missing::<A>(nest.as_deref(), *kind));
            }
        }
        refusal
    }

    fn attribute_at(&self, offset: u32) -> Option<String> {
        self.request.attribute_at(usize::try_from(offset).ok()?)
    }

    fn wire(&self, source: WireError) -> Error {
        Error::Wire { what: self.request.what.clone(), source }
    }
}

fn missing<A: Attribute>(nest: Option<&str>, kind: u32) -> String {
    match (nest, u16::try_from(kind).ok().and_then(A::name_of)) {
        (None, Some(name)) => name.to_owned(),
        (None, None) => format!("attribute {kind}"),
        (Some(nest), _) => format!("attribute {kind} of {nest}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::route::{LinkAttr, LinkHeader, Socket, kind};
    use crate::wire::{Header, Text, Writer};
    use zerocopy::IntoBytes;

    const SEQ: u32 = 7;
    const PORT: u32 = 4242;

    type LinkRequest = Request<LinkHeader, LinkAttr>;

    fn request() -> LinkRequest {
        let attrs = vec![LinkAttr::IfName(Text::new("lo")), LinkAttr::Mtu(3)];
        Request::new(kind::SETLINK, Flags::empty(), LinkHeader::of(1), attrs, "set the MTU".to_owned())
    }

    fn message(kind: u16, flags: Flags, seq: u32, port: u32, payload: &[u8]) -> Vec<u8> {
        let len = u32::try_from(Header::LEN + payload.len()).unwrap();
        let mut out = Writer::new();
        out.bytes(Header { len, kind, flags: flags.bits(), seq, port }.as_bytes());
        out.bytes(payload);
        out.pad();
        out.finish().unwrap()
    }

    fn link(ifindex: u32) -> Vec<u8> {
        message(kind::NEWLINK, Flags::MULTI, SEQ, PORT, LinkHeader::of(ifindex).as_bytes())
    }

    /// An error message that repeats `repeated` and carries these attributes.
    fn error(errno: i32, flags: Flags, repeated: &[u8], attrs: &[AckAttr]) -> Vec<u8> {
        let mut out = Writer::new();
        out.bytes(&(-errno).to_ne_bytes());
        out.bytes(repeated);
        attrs.iter().for_each(|attr| attr.write(&mut out));
        message(control::ERROR, flags, SEQ, PORT, &out.finish().unwrap())
    }

    fn run(request: &LinkRequest, datagrams: &[Vec<u8>]) -> Result<(Vec<u32>, bool), Error> {
        let mut exchange = Exchange::new(request, SEQ, PORT);
        for datagram in datagrams {
            if exchange.datagram(datagram)? {
                let interrupted = exchange.is_interrupted();
                return Ok((exchange.into_bodies().iter().map(|body| body.header.ifindex).collect(), interrupted));
            }
        }
        panic!("no verdict");
    }

    fn done() -> Vec<u8> {
        message(control::DONE, Flags::MULTI, SEQ, PORT, &0i32.to_ne_bytes())
    }

    #[test]
    fn answers_come_in_several_messages_and_datagrams() {
        let noop = message(control::NOOP, Flags::empty(), SEQ, PORT, &[]);
        let datagrams = [[link(1), noop, link(2)].concat(), link(3), done()];
        assert_eq!(run(&request(), &datagrams).unwrap(), (vec![1, 2, 3], false));
    }

    #[test]
    fn an_interrupted_dump_is_seen_in_any_message() {
        let changed = |kind, payload: &[u8]| message(kind, Flags::MULTI | Flags::DUMP_INTR, SEQ, PORT, payload);
        let early = [changed(kind::NEWLINK, LinkHeader::of(1).as_bytes()), done()];
        assert_eq!(run(&request(), &early).unwrap(), (vec![1], true));
        let late = [link(1), changed(control::DONE, &0i32.to_ne_bytes())];
        assert_eq!(run(&request(), &late).unwrap(), (vec![1], true));
    }

    #[test]
    fn late_answers_to_earlier_requests_are_passed_over() {
        let old = message(control::ERROR, Flags::CAPPED, SEQ - 1, PORT, &[0xff; 20]);
        assert_eq!(run(&request(), &[old, link(5), done()]).unwrap().0, [5]);
    }

    #[test]
    fn answers_to_others_are_refused() {
        for (seq, port) in [(SEQ + 1, PORT), (SEQ, PORT + 1), (SEQ - 1, PORT + 1)] {
            let other = message(control::DONE, Flags::MULTI, seq, port, &0i32.to_ne_bytes());
            let error = run(&request(), &[other]).unwrap_err();
            assert!(matches!(error, Error::NotOurs { want_seq: SEQ, want_port: PORT, .. }), "{error}");
        }
    }

    #[test]
    fn a_refusal_has_the_kernels_words_and_the_attribute() {
        let request = request();
        let sent = request.encode(Flags::REQUEST | Flags::ACK, SEQ, 0).unwrap();
        // Netlink header 16, ifinfomsg 16, IFLA_IFNAME 8; there IFLA_MTU starts.
        let attrs = [AckAttr::Msg(Text::new("mtu less than device minimum")), AckAttr::Offs(40)];
        let whole = error(22, Flags::ACK_TLVS, &sent, &attrs);
        let capped = error(22, Flags::ACK_TLVS | Flags::CAPPED, &sent[..16], &attrs);
        for datagram in [whole, capped] {
            let error = run(&request, &[datagram]).unwrap_err();
            assert_eq!(error.errno(), Some(22));
            assert_eq!(error.extack(), Some("mtu less than device minimum"));
            assert_eq!(error.attribute(), Some("IFLA_MTU"));
            let text = "set the MTU: mtu less than device minimum (EINVAL: Invalid argument), at IFLA_MTU";
            assert_eq!(error.to_string(), text);
        }
    }

    #[test]
    fn a_refusal_names_what_is_missing() {
        let request = request();
        let attrs = [AckAttr::MissType(18)];
        let datagram = error(22, Flags::ACK_TLVS | Flags::CAPPED, &[0; 16], &attrs);
        let text = "set the MTU: EINVAL: Invalid argument, missing IFLA_LINKINFO";
        assert_eq!(run(&request, &[datagram]).unwrap_err().to_string(), text);
    }

    #[test]
    fn a_dump_may_fail_at_its_end() {
        let failed = message(control::DONE, Flags::MULTI, SEQ, PORT, &(-90i32).to_ne_bytes());
        let error = run(&request(), &[link(1), failed]).unwrap_err();
        assert_eq!(error.to_string(), "set the MTU: EMSGSIZE: Message too long");
    }

    #[test]
    fn bytes_that_are_no_message_are_an_error_with_a_place() {
        let mut short = link(1);
        short.truncate(20);
        let error = run(&request(), &[short]).unwrap_err();
        assert_eq!(error.to_string(), "set the MTU: byte 0: the message says it has 32 bytes, 20 are there");
        let tiny = message(kind::NEWLINK, Flags::MULTI, SEQ, PORT, &[0; 4]);
        assert_eq!(
            run(&request(), &[tiny]).unwrap_err().to_string(),
            "set the MTU: ifinfomsg has 16 bytes, the message only 4"
        );
        let error = run(&request(), &[vec![1, 2, 3]]).unwrap_err();
        assert_eq!(error.to_string(), "set the MTU: byte 0: a message header has 16 bytes, only 3 are left");
    }

    proptest::proptest! {
        #[test]
        fn no_datagram_makes_it_panic(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200)) {
            let request = request();
            let _ = Exchange::new(&request, SEQ, PORT).datagram(&bytes).map_err(|error| error.to_string());
        }

        #[test]
        fn no_broken_error_makes_it_panic(tail in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..80), flags: u16) {
            let request = request();
            let datagram = message(control::ERROR, Flags::from_bits_retain(flags), SEQ, PORT, &tail);
            let _ = Exchange::new(&request, SEQ, PORT).datagram(&datagram).map_err(|error| error.to_string());
        }
    }

    #[test]
    fn a_socket_can_move_to_another_thread() {
        fn is_send<T: Send>() {}
        is_send::<Socket>();
    }
}
