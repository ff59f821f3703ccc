/* A layer-4 balancer: VIP, ring, real server; out again in an IP-in-IP header. */
#include "kernel.h"

#define RING 65537

struct vip_key {
	u32 addr;
	u16 port;
	u8 proto;
	u8 pad;
};

struct vip {
	u32 index;
};

struct real {
	u32 addr;
	u8 mac[6];
	u16 pad;
};

struct stat {
	u64 packets;
	u64 bytes;
};

struct {
	NUMBER(type, MAP_HASH);
	TYPE(key, struct vip_key);
	TYPE(value, struct vip);
	NUMBER(max_entries, 512);
} vips MAPS;

struct {
	NUMBER(type, MAP_ARRAY);
	TYPE(key, u32);
	TYPE(value, u32);
	NUMBER(max_entries, 16 * RING);
} rings MAPS;

struct {
	NUMBER(type, MAP_ARRAY);
	TYPE(key, u32);
	TYPE(value, struct real);
	NUMBER(max_entries, 4096);
} reals MAPS;

struct {
	NUMBER(type, MAP_PERCPU_ARRAY);
	TYPE(key, u32);
	TYPE(value, struct stat);
	NUMBER(max_entries, 512);
} stats MAPS;

const volatile u32 local = 0;

ALWAYS u32 rotated(u32 number, u32 by)
{
	return number << by | number >> (32 - by);
}

/* The last mix of Bob Jenkins' lookup3. */
ALWAYS u32 mixed(u32 a, u32 b, u32 c)
{
	c ^= b;
	c -= rotated(b, 14);
	a ^= c;
	a -= rotated(c, 11);
	b ^= a;
	b -= rotated(a, 25);
	c ^= b;
	c -= rotated(b, 16);
	a ^= c;
	a -= rotated(c, 4);
	b ^= a;
	b -= rotated(a, 14);
	c ^= b;
	c -= rotated(b, 24);
	return c;
}

/* The sum of a header whose checksum is zero, as a checksum. */
ALWAYS u16 summed(const struct ipv4 *ip)
{
	const u16 *words = (const void *)ip;
	u32 sum = 0;
	int i;

#pragma unroll
	for (i = 0; i < 10; i++)
		sum += words[i];
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return ~sum;
}

PLACE("xdp") int maglev(struct xdp *ctx)
{
	void *end = END(ctx);
	struct eth *eth = START(ctx);
	struct ipv4 *ip = (void *)(eth + 1);
	u32 *both = (void *)(ip + 1);
	struct vip_key key = {};
	struct vip *vip;
	struct real *real;
	struct stat *stat;
	u32 slot, *id, index;
	u16 len;
	u8 tos, mac[6];

	if (!FITS(both, end))
		return PASS;
	if (eth->proto != ETH_IPV4 || (ip->version_ihl & 15) != 5)
		return PASS;
	if (ip->protocol != TCP && ip->protocol != UDP)
		return PASS;
	key.addr = ip->dst;
	key.port = *both >> 16;
	key.proto = ip->protocol;
	vip = map_lookup(&vips, &key);
	if (!vip)
		return PASS;
	index = vip->index;
	slot = mixed(ip->src, *both, 0xdeadbeef) % RING + index * RING;
	id = map_lookup(&rings, &slot);
	if (!id)
		return DROP;
	real = map_lookup(&reals, id);
	if (!real)
		return DROP;
	len = NET16(ip->total_len);
	tos = ip->tos;
	__builtin_memcpy(mac, eth->dst, 6);
	stat = map_lookup(&stats, &index);
	if (stat) {
		stat->packets += 1;
		stat->bytes += len;
	}
	if (adjust_head(ctx, -20))
		return DROP;
	end = END(ctx);
	eth = START(ctx);
	ip = (void *)(eth + 1);
	if (!FITS(ip, end))
		return DROP;
	__builtin_memcpy(eth->dst, real->mac, 6);
	__builtin_memcpy(eth->src, mac, 6);
	eth->proto = ETH_IPV4;
	ip->version_ihl = 0x45;
	ip->tos = tos;
	ip->total_len = NET16((u16)(len + 20));
	ip->id = 0;
	ip->fragment = 0;
	ip->ttl = 64;
	ip->protocol = IPIP;
	ip->checksum = 0;
	ip->src = local;
	ip->dst = real->addr;
	ip->checksum = summed(ip);
	return TX;
}
