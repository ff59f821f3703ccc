/* TCP to port 9999 is counted and dropped. */
#include "kernel.h"

struct {
	NUMBER(type, MAP_ARRAY);
	TYPE(key, u32);
	TYPE(value, u64);
	NUMBER(max_entries, 1);
} dropped MAPS;

PLACE("xdp") int drop_port(struct xdp *ctx)
{
	void *end = END(ctx);
	struct eth *eth = START(ctx);
	struct ipv4 *ip = (void *)(eth + 1);
	struct tcp *tcp = (void *)(ip + 1);
	u32 first = 0;
	u64 *packets;

	if (!FITS(tcp, end))
		return PASS;
	if (eth->proto != ETH_IPV4 || ip->protocol != TCP || tcp->dst != NET16(9999))
		return PASS;
	packets = map_lookup(&dropped, &first);
	if (packets)
		__sync_fetch_and_add(packets, 1);
	return DROP;
}
