/* Answers ping in place. */
#include "kernel.h"

struct echo {
	u8 kind;
	u8 code;
	u16 checksum;
	u16 id;
	u16 seq;
};

/* The checksum after 16 bits of the message went from `from` to zero. */
ALWAYS u16 without(u16 checksum, u16 from)
{
	u32 sum = (u16)~checksum;

	sum += (u16)~from;
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return ~sum;
}

PLACE("xdp") int icmp_echo(struct xdp *ctx)
{
	void *end = END(ctx);
	struct eth *eth = START(ctx);
	struct ipv4 *ip = (void *)(eth + 1);
	struct echo *icmp = (void *)(ip + 1);
	u8 mac[6];
	u32 address;

	if (!FITS(icmp, end))
		return PASS;
	if (eth->proto != ETH_IPV4 || (ip->version_ihl & 15) != 5 || ip->protocol != ICMP || icmp->kind != 8)
		return PASS;
	__builtin_memcpy(mac, eth->dst, 6);
	__builtin_memcpy(eth->dst, eth->src, 6);
	__builtin_memcpy(eth->src, mac, 6);
	address = ip->src;
	ip->src = ip->dst;
	ip->dst = address;
	icmp->kind = 0;
	icmp->checksum = without(icmp->checksum, NET16(0x0800));
	return TX;
}
