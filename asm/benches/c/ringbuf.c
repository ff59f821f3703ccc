/* Tells user space of every TCP reset. */
#include "kernel.h"

struct event {
	u64 ns;
	u32 src;
	u32 dst;
	u16 sport;
	u16 dport;
	u32 len;
};

struct {
	NUMBER(type, MAP_RINGBUF);
	NUMBER(max_entries, 65536);
} events MAPS;

PLACE("xdp") int ringbuf(struct xdp *ctx)
{
	void *end = END(ctx);
	struct eth *eth = START(ctx);
	struct ipv4 *ip = (void *)(eth + 1);
	struct tcp *tcp = (void *)(ip + 1);
	struct event *event;

	if (!FITS(tcp, end))
		return PASS;
	if (eth->proto != ETH_IPV4 || (ip->version_ihl & 15) != 5 || ip->protocol != TCP || !(tcp->flags & RST))
		return PASS;
	event = ringbuf_reserve(&events, sizeof(*event), 0);
	if (!event)
		return PASS;
	event->ns = ktime_ns();
	event->src = ip->src;
	event->dst = ip->dst;
	event->sport = tcp->src;
	event->dport = tcp->dst;
	event->len = NET16(ip->total_len);
	ringbuf_submit(event, 0);
	return PASS;
}
