/* A token bucket for each source: 1,000 packets a second, bursts of 100. */
#include "kernel.h"

struct tokens {
	u64 last;
	u64 left;
};

struct {
	NUMBER(type, MAP_LRU_HASH);
	TYPE(key, u32);
	TYPE(value, struct tokens);
	NUMBER(max_entries, 65536);
} buckets MAPS;

enum { TOKEN = 1000000, BURST = 100 };

PLACE("xdp") int ratelimit(struct xdp *ctx)
{
	void *end = END(ctx);
	struct eth *eth = START(ctx);
	struct ipv4 *ip = (void *)(eth + 1);
	struct tokens *tokens;
	u64 now, left;

	if (!FITS(ip, end) || eth->proto != ETH_IPV4)
		return PASS;
	now = ktime_ns();
	tokens = map_lookup(&buckets, &ip->src);
	if (!tokens) {
		struct tokens full = { .last = now, .left = BURST - 1 };

		map_update(&buckets, &ip->src, &full, UPDATE_ANY);
		return PASS;
	}
	left = tokens->left + (now - tokens->last) / TOKEN;
	if (left > BURST)
		left = BURST;
	if (left == 0)
		return DROP;
	tokens->last = now;
	tokens->left = left - 1;
	return PASS;
}
