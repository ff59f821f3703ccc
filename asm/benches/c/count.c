/* One atomic increment for each packet. */
#include "kernel.h"

struct {
	NUMBER(type, MAP_ARRAY);
	TYPE(key, u32);
	TYPE(value, u64);
	NUMBER(max_entries, 1);
} counter MAPS;

PLACE("xdp") int count(struct xdp *ctx)
{
	u32 first = 0;
	u64 *packets = map_lookup(&counter, &first);

	if (packets)
		__sync_fetch_and_add(packets, 1);
	return PASS;
}
