/* A message goes straight to the receive queue of the socket at the other end, when it is on this host. */
#include "sockops.h"

PLACE("sk_msg") int redirect(struct sk_msg *msg)
{
	struct tuple peer;

	if (msg->family != INET)
		return 1;
	peer.sip = msg->remote_ip4;
	peer.dip = msg->local_ip4;
	peer.sport = msg->remote_port;
	peer.dport = __builtin_bswap32(msg->local_port);
	msg_redirect_hash(msg, &socks, &peer, 1);
	return 1;
}
