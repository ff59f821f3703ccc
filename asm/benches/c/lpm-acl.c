/* The longest prefix of the source address decides. */
#include "kernel.h"

struct prefix {
	u32 len;
	u32 addr;
};

struct {
	NUMBER(type, MAP_LPM_TRIE);
	TYPE(key, struct prefix);
	TYPE(value, u32);
	NUMBER(max_entries, 1024);
	NUMBER(map_flags, NO_PREALLOC);
} acl MAPS;

struct {
	NUMBER(type, MAP_PERCPU_ARRAY);
	TYPE(key, u32);
	TYPE(value, u64);
	NUMBER(max_entries, 2);
} verdicts MAPS;

PLACE("xdp") int lpm_acl(struct xdp *ctx)
{
	void *end = END(ctx);
	struct eth *eth = START(ctx);
	struct ipv4 *ip = (void *)(eth + 1);
	struct prefix source = { .len = 32 };
	u32 *rule, drop = 0;
	u64 *packets;

	if (!FITS(ip, end) || eth->proto != ETH_IPV4)
		return PASS;
	source.addr = ip->src;
	rule = map_lookup(&acl, &source);
	if (rule)
		drop = *rule == 0;
	packets = map_lookup(&verdicts, &drop);
	if (packets)
		*packets += 1;
	return drop ? DROP : PASS;
}
