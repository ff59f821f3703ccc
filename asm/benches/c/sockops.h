/* What the two programs of the sockhash share: the key, the map, the fields of their contexts. */
#pragma once
#include "kernel.h"

enum { INET = 2 };

struct tuple {
	u32 sip;
	u32 dip;
	u32 sport;
	u32 dport;
};

struct {
	NUMBER(type, MAP_SOCKHASH);
	NUMBER(key_size, sizeof(struct tuple));
	NUMBER(value_size, 8);
	NUMBER(max_entries, 65535);
} socks MAPS;

struct sock_ops {
	u32 op;
	u32 args[4];
	u32 family;
	u32 remote_ip4;
	u32 local_ip4;
	u32 remote_ip6[4];
	u32 local_ip6[4];
	u32 remote_port;
	u32 local_port;
};

struct sk_msg {
	u64 data;
	u64 data_end;
	u32 family;
	u32 remote_ip4;
	u32 local_ip4;
	u32 remote_ip6[4];
	u32 local_ip6[4];
	u32 remote_port;
	u32 local_port;
};
