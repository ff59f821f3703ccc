/* More than 100 SYNs in a second from one source are dropped. */
#include "kernel.h"

struct bucket {
	u64 start;
	u64 n;
};

struct {
	NUMBER(type, MAP_LRU_HASH);
	TYPE(key, u32);
	TYPE(value, struct bucket);
	NUMBER(max_entries, 65536);
} sources MAPS;

struct {
	NUMBER(type, MAP_ARRAY);
	TYPE(key, u32);
	TYPE(value, u64);
	NUMBER(max_entries, 2);
} totals MAPS;

ALWAYS void bump(u32 which)
{
	u64 *total = map_lookup(&totals, &which);

	if (total)
		__sync_fetch_and_add(total, 1);
}

PLACE("xdp") int synflood(struct xdp *ctx)
{
	void *end = END(ctx);
	struct eth *eth = START(ctx);
	struct ipv4 *ip = (void *)(eth + 1);
	struct tcp *tcp = (void *)(ip + 1);
	struct bucket *bucket;
	u64 now;

	if (!FITS(tcp, end))
		return PASS;
	if (eth->proto != ETH_IPV4 || ip->protocol != TCP || (ip->version_ihl & 15) != 5)
		return PASS;
	if ((tcp->flags & (SYN | ACK)) != SYN)
		return PASS;
	bump(0);
	now = ktime_ns();
	bucket = map_lookup(&sources, &ip->src);
	if (!bucket) {
		struct bucket first = { .start = now, .n = 1 };

		map_update(&sources, &ip->src, &first, UPDATE_ANY);
		return PASS;
	}
	if (now - bucket->start > 1000000000ull) {
		bucket->start = now;
		bucket->n = 1;
		return PASS;
	}
	bucket->n += 1;
	if (bucket->n <= 100)
		return PASS;
	bump(1);
	return DROP;
}
