/* What the C twins need of the kernel's interface, in our own words: numbers, maps, helpers, headers of packets.
 *
 * Each twin says in C what the example of the same name in progs/examples/ says in Rust: same packets, same verdicts, same
 * bytes, same maps. They are there to be compared with, and built by clang alone: no header of anybody else is needed. */
#pragma once

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef long long s64;

#define PLACE(where) __attribute__((section(where), used))
#define ALWAYS static __attribute__((always_inline)) inline
#define PACKED __attribute__((packed))

/* A map is described by the types of the fields of a variable. */
#define NUMBER(field, number) int (*field)[number]
#define TYPE(field, of) of *field
#define MAPS PLACE(".maps")

enum { MAP_HASH = 1, MAP_ARRAY = 2, MAP_PERCPU_ARRAY = 6, MAP_LRU_HASH = 9, MAP_LPM_TRIE = 11, MAP_DEVMAP = 14, MAP_SOCKHASH = 18, MAP_RINGBUF = 27 };
enum { NO_PREALLOC = 1 };
enum { UPDATE_ANY = 0, UPDATE_NOEXIST = 1 };
enum { ABORTED = 0, DROP = 1, PASS = 2, TX = 3 };

/* Helpers by number. */
static void *(*map_lookup)(void *map, const void *key) = (void *)1;
static s64 (*map_update)(void *map, const void *key, const void *value, u64 flags) = (void *)2;
static u64 (*ktime_ns)(void) = (void *)5;
static s64 (*adjust_head)(void *ctx, int by) = (void *)44;
static s64 (*redirect_map)(void *map, u64 key, u64 flags) = (void *)51;
static s64 (*sock_hash_update)(void *ops, void *map, void *key, u64 flags) = (void *)70;
static s64 (*msg_redirect_hash)(void *msg, void *map, void *key, u64 flags) = (void *)71;
static void *(*ringbuf_reserve)(void *ring, u64 size, u64 flags) = (void *)131;
static void (*ringbuf_submit)(void *record, u64 flags) = (void *)132;

struct xdp {
	u32 data;
	u32 data_end;
	u32 data_meta;
	u32 ingress;
	u32 queue;
	u32 egress;
};

struct eth {
	u8 dst[6];
	u8 src[6];
	u16 proto;
} PACKED;

struct ipv4 {
	u8 version_ihl;
	u8 tos;
	u16 total_len;
	u16 id;
	u16 fragment;
	u8 ttl;
	u8 protocol;
	u16 checksum;
	u32 src;
	u32 dst;
};

struct tcp {
	u16 src;
	u16 dst;
	u32 seq;
	u32 ack;
	u8 offset;
	u8 flags;
	u16 window;
	u16 checksum;
	u16 urgent;
};

enum { FIN = 1, SYN = 2, RST = 4, ACK = 16 };
enum { ICMP = 1, IPIP = 4, TCP = 6, UDP = 17 };

#define NET16(number) ((u16)__builtin_bswap16(number))
#define ETH_IPV4 NET16(0x0800)
#define ETH_IPV6 NET16(0x86dd)

/* Is there a T at the place? */
#define FITS(place, end) ((void *)((place) + 1) <= (end))
#define START(ctx) ((void *)(u64)(ctx)->data)
#define END(ctx) ((void *)(u64)(ctx)->data_end)

PLACE("license") char LICENSE[] = "Dual MIT/GPL";
