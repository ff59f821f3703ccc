/* Every established IPv4 connection of the cgroup gets into a sockhash, under its tuple. */
#include "sockops.h"

enum { ACTIVE_ESTABLISHED = 4, PASSIVE_ESTABLISHED = 5 };

PLACE("sockops") int enroll(struct sock_ops *ops)
{
	struct tuple tuple;

	if (ops->op != ACTIVE_ESTABLISHED && ops->op != PASSIVE_ESTABLISHED)
		return 0;
	if (ops->family != INET)
		return 0;
	tuple.sip = ops->local_ip4;
	tuple.dip = ops->remote_ip4;
	tuple.sport = __builtin_bswap32(ops->local_port);
	tuple.dport = ops->remote_port;
	sock_hash_update(ops, &socks, &tuple, UPDATE_NOEXIST);
	return 0;
}
