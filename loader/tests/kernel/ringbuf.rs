//! Ring buffers: every record once, in order, over the end of the memory, and none that was discarded.

use std::time::Duration;

use asm::object::MapType;
use loader::Loaded;
use loader::map::{Map, Options, RingBuf};

use crate::hooks::load;
use crate::support::need_root;

/// Writes a record of 8 bytes (a number, one more each run), one of 13, and one that it discards. Answers 1 when full.
const WRITER: &str = r#"
.license "GPL"
.map events: ringbuf { max_entries: 4096 }
.bss
.var number: u64
.section xdp
.func write(ctx: *xdp_md) -> int
write:
  r6 = number ll
  r7 = *(u64 *)(r6 + 0)
  *(u64 *)(r10 - 8) = r7
  r1 = events ll
  r2 = r10
  r2 += -8
  r3 = 8
  r4 = 0
  call bpf_ringbuf_output
  if r0 != 0 goto full
  r7 += 1
  *(u64 *)(r6 + 0) = r7
  r1 = events ll
  r2 = 13
  r3 = 0
  call bpf_ringbuf_reserve
  if r0 == 0 goto full
  *(u64 *)(r0 + 0) = -1
  *(u32 *)(r0 + 8) = -1
  *(u8 *)(r0 + 12) = 7
  r1 = r0
  r2 = 0
  call bpf_ringbuf_submit
  r1 = events ll
  r2 = 24
  r3 = 0
  call bpf_ringbuf_reserve
  if r0 == 0 goto full
  r1 = r0
  r2 = 0
  call bpf_ringbuf_discard
  r0 = 0
  exit
full:
  r0 = 1
  exit
"#;

fn write(loaded: &Loaded, times: u32) -> u32 {
    loaded.prog("write").expect("it is there").test_run(&[0; 14], times).expect("a test run").retval
}

#[test]
fn every_record_is_read_once_and_in_order() {
    let loaded = load(WRITER);
    let mut events = RingBuf::new(loaded.map("events").unwrap()).unwrap();
    assert!(!events.wait(Some(Duration::ZERO)).unwrap(), "nothing yet");
    let mut next = 0_u64;
    // 72 bytes a run: the memory of 4096 is gone through some ten times.
    for round in 0..60 {
        assert_eq!(write(&loaded, 10), 0);
        assert!(events.wait(Some(Duration::ZERO)).unwrap(), "round {round}");
        let mut long = false;
        let count = events.read(|record| {
            let want = if long { [vec![0xff; 12], vec![7]].concat() } else { next.to_ne_bytes().to_vec() };
            assert_eq!(record, want, "round {round}");
            next += u64::from(long);
            long = !long;
        });
        assert_eq!(count.unwrap(), 20, "round {round}");
    }
    assert_eq!(events.read(|_| panic!("nothing is left")).unwrap(), 0);
}

#[test]
fn a_full_buffer_refuses_and_goes_on_after_reading() {
    let loaded = load(WRITER);
    let mut events = RingBuf::new(loaded.map("events").unwrap()).unwrap();
    assert_eq!(write(&loaded, 100), 1, "4096 bytes take no 100 runs");
    let before = events.read(|_| ()).unwrap();
    // 56 runs of 72 bytes, one that finds room for two of its three records, one for the first.
    assert_eq!(before, 56 * 2 + 3);
    assert_eq!(write(&loaded, 1), 0);
    assert_eq!(events.read(|_| ()).unwrap(), 2);
}

#[test]
fn another_type_of_map_is_refused() {
    need_root();
    let options =
        Options { map_type: MapType::ARRAY, key_size: 4, value_size: 8, max_entries: 1, ..Options::default() };
    let array = Map::create("array", &options).unwrap();
    assert!(RingBuf::new(&array).unwrap_err().to_string().contains("`array`"));
}
