/* Walks up to eight IPv6 extension headers and counts packets by the protocol behind them. */
#include "kernel.h"

struct ipv6 {
	u32 flow;
	u16 payload_len;
	u8 next_header;
	u8 hop_limit;
	u8 src[16];
	u8 dst[16];
};

struct extension {
	u8 next_header;
	u8 len;
};

struct {
	NUMBER(type, MAP_PERCPU_ARRAY);
	TYPE(key, u32);
	TYPE(value, u64);
	NUMBER(max_entries, 256);
} protocols MAPS;

PLACE("xdp") int ipv6_ext(struct xdp *ctx)
{
	void *end = END(ctx);
	struct eth *eth = START(ctx);
	struct ipv6 *ip = (void *)(eth + 1);
	void *at = ip + 1;
	u64 *packets;
	u32 next;
	int i;

	if (!FITS(ip, end) || eth->proto != ETH_IPV6)
		return PASS;
	next = ip->next_header;
#pragma unroll
	for (i = 0; i < 8; i++) {
		struct extension *header = at;

		if (next != 0 && next != 43 && next != 60)
			break;
		if (!FITS(header, end))
			return PASS;
		next = header->next_header;
		at += header->len * 8 + 8;
	}
	packets = map_lookup(&protocols, &next);
	if (packets)
		*packets += 1;
	return PASS;
}
