/* Unwraps IP in IP that is for this host and carries traffic of a VIP. */
#include "kernel.h"

struct {
	NUMBER(type, MAP_HASH);
	TYPE(key, u32);
	TYPE(value, u64);
	NUMBER(max_entries, 512);
} vips MAPS;

const volatile u32 local = 0;

PLACE("xdp") int ipip_decap(struct xdp *ctx)
{
	void *end = END(ctx);
	struct eth *eth = START(ctx), frame;
	struct ipv4 *outer = (void *)(eth + 1);
	struct ipv4 *inner = outer + 1;
	u64 *packets;

	if (!FITS(inner, end))
		return PASS;
	if (eth->proto != ETH_IPV4 || (outer->version_ihl & 15) != 5 || outer->protocol != IPIP || outer->dst != local)
		return PASS;
	packets = map_lookup(&vips, &inner->dst);
	if (!packets)
		return DROP;
	__sync_fetch_and_add(packets, 1);
	frame = *eth;
	if (adjust_head(ctx, 20))
		return DROP;
	end = END(ctx);
	eth = START(ctx);
	if (!FITS(eth, end))
		return DROP;
	*eth = frame;
	return PASS;
}
