/* TCP to a listed port goes out by another device, and is counted. */
#include "kernel.h"

struct {
	NUMBER(type, MAP_HASH);
	TYPE(key, u16);
	TYPE(value, u64);
	NUMBER(max_entries, 1024);
} ports MAPS;

struct {
	NUMBER(type, MAP_DEVMAP);
	TYPE(key, u32);
	TYPE(value, u32);
	NUMBER(max_entries, 64);
} tx MAPS;

PLACE("xdp") int tiny(struct xdp *ctx)
{
	void *end = END(ctx);
	struct eth *eth = START(ctx);
	struct ipv4 *ip = (void *)(eth + 1);
	struct tcp *tcp;
	u64 *packets;

	if (!FITS(ip, end) || eth->proto != ETH_IPV4 || ip->protocol != TCP)
		return PASS;
	tcp = (void *)ip + (ip->version_ihl & 15) * 4;
	if (!FITS(tcp, end))
		return PASS;
	packets = map_lookup(&ports, &tcp->dst);
	if (!packets)
		return PASS;
	__sync_fetch_and_add(packets, 1);
	return redirect_map(&tx, 0, ABORTED);
}
