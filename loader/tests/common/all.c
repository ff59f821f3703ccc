// What a compiler's BTF can hold, for the test of the disassembler. Needs no header.
typedef unsigned char __u8;
typedef unsigned short __u16;
typedef unsigned int __u32;
typedef unsigned long long __u64;
typedef _Bool bool;

#define SEC(name) __attribute__((section(name), used))
#define EXTERN(name) __attribute__((section(name)))
#define __uint(name, val) int (*name)[val]
#define __type(name, val) typeof(val) *name
#define __kptr __attribute__((btf_type_tag("kptr")))
#define __contains(type, field) __attribute__((btf_decl_tag("contains:" #type ":" #field)))
#define CORE __attribute__((preserve_access_index))

struct task_struct {
	int pid;
} CORE;

enum state { IDLE, BUSY = 7 };
enum wide { TOP = 0xffffffffffffULL };

struct list_head_like {
	__u64 opaque[2];
};

struct node {
	struct node *next;
	struct task_struct __kptr *task;
	struct list_head_like link;
	unsigned int flags : 3;
	unsigned int more : 20;
	enum state state;
	union {
		__u32 whole;
		__u16 half[2];
	};
	double weight;
} __attribute__((aligned(8)));

typedef int visit_t(struct node *, void *);

struct table {
	visit_t *visit;
	void (*done)(void);
	enum wide wide;
	struct {
		const volatile char *name;
		bool on;
	} packed[2] __attribute__((packed));
};

struct {
	__uint(type, 1);
	__type(key, __u32);
	__type(value, struct node);
	__uint(max_entries, 64);
} nodes SEC(".maps");

struct table table = { .wide = TOP };
static volatile __u64 calls;
const volatile int limit = 5;
struct list_head_like head SEC(".data.heads") __contains(node, link);

extern int LINUX_KERNEL_VERSION EXTERN(".kconfig");
extern bool CONFIG_BPF_SYSCALL EXTERN(".kconfig") __attribute__((weak));
extern struct task_struct *bpf_task_acquire(struct task_struct *p) EXTERN(".ksyms") __attribute__((weak));
extern const int bpf_prog_active EXTERN(".ksyms");

static void *(*lookup)(void *map, const void *key) = (void *)1;
static struct task_struct *(*current)(void) = (void *)158;

static __attribute__((noinline)) int twice(int n)
{
	calls++;
	return n * 2;
}

SEC("tp_btf/sched_switch")
int sample(__u64 *ctx)
{
	struct task_struct *task = current();
	__u32 key = LINUX_KERNEL_VERSION % 64;
	struct node *node = lookup(&nodes, &key);

	if (!node || !CONFIG_BPF_SYSCALL)
		return 0;
	node->flags = task->pid & limit;
	node->state = BUSY;
	node->half[1] = bpf_prog_active;
	head.opaque[0] = (__u64)table.visit + (__u64)table.packed[1].name;
	if (bpf_task_acquire)
		calls += (__u64)bpf_task_acquire(task);
	return twice(node->flags);
}

char _license[] SEC("license") = "GPL";
