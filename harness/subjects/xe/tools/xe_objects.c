// SPDX-License-Identifier: GPL-2.0-only
/*
 * Processes with buffer objects of xe, through its own ioctls:
 *   xe_objects NODE wb|wc MIB OBJECT_KIB PROCESSES SEED [kill|purged]
 * Each process creates, maps and fills its share of MIB, waits for the others to
 * have done so, then reads all of it back word by word, with objects of its own
 * that come and go meanwhile.
 * With "kill" all is read twice, and every second one is killed at a point of its
 * work that the seed says; it must leave nothing behind.
 * With "purged" each process fills its objects, makes one more as the sign of it,
 * and looks at them until they are gone: before that they hold what was written,
 * afterwards there is SIGBUS.
 * One line per finding on standard error; status 0 when there is none.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

/* The kernel's interface, as far as it is used here. */
struct gem_create {
	uint64_t extensions, size;
	uint32_t placement, flags, vm_id, handle;
	uint16_t cpu_caching, pad[3];
	uint64_t reserved[2];
};

struct gem_mmap_offset {
	uint64_t extensions;
	uint32_t handle, flags;
	uint64_t offset, reserved[2];
};

struct gem_close {
	uint32_t handle, pad;
};

#define GEM_CREATE _IOWR('d', 0x41, struct gem_create)
#define GEM_MMAP_OFFSET _IOWR('d', 0x42, struct gem_mmap_offset)
#define GEM_CLOSE _IOW('d', 0x09, struct gem_close)
#define SYSTEM_MEMORY 1

struct object {
	uint32_t handle;
	uint64_t *words;
};

static const char *node;
static uint16_t caching;
static size_t size, count;
static uint64_t seed;
static unsigned long processes;
static int rounds = 1;		/* of reading */
static int purged;		/* the objects will be */
static size_t *progress;	/* objects filled or read, for all to see */
static size_t *done;		/* those of this process */

#define GONE (SIZE_MAX / 2)	/* nobody waits for it */
#define AT_MOST_SECONDS 300

static void leave(int status)
{
	__atomic_store_n(done, GONE, __ATOMIC_RELAXED);
	exit(status);
}

static void fail(const char *what, size_t object)
{
	fprintf(stderr, "xe_objects: process %llu, object %zu: %s: %s\n",
		(unsigned long long)seed, object, what, strerror(errno));
	leave(1);
}

/* A signal may come at any time, and an interrupted call is made again. */
static void call(int fd, unsigned long request, void *argument, const char *what, size_t object)
{
	int ret;

	do
		ret = ioctl(fd, request, argument);
	while (ret && (errno == EINTR || errno == EAGAIN));
	if (ret)
		fail(what, object);
}

static uint64_t word(size_t object, size_t i)
{
	return (seed * 977 + object) * 0x9e3779b97f4a7c15u ^ i * 0xd1342543de82ef95u;
}

static uint32_t make(int fd, size_t number)
{
	struct gem_create gem = {
		.size = size, .placement = SYSTEM_MEMORY, .cpu_caching = caching,
	};

	call(fd, GEM_CREATE, &gem, "create", number);
	return gem.handle;
}

static void create(int fd, struct object *object, size_t number)
{
	struct gem_mmap_offset map = { .handle = make(fd, number) };

	call(fd, GEM_MMAP_OFFSET, &map, "mmap offset", number);
	object->handle = map.handle;
	object->words = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, map.offset);
	if (object->words == MAP_FAILED)
		fail("mmap", number);
}

static void drop(int fd, struct object *object, size_t number)
{
	struct gem_close gem = { .handle = object->handle };

	munmap(object->words, size);
	call(fd, GEM_CLOSE, &gem, "close", number);
}

static void fill(const struct object *object, size_t number)
{
	size_t i;

	for (i = 0; i < size / 8; i++)
		object->words[i] = word(number, i);
}

static void verify(const struct object *object, size_t number)
{
	size_t i;

	for (i = 0; i < size / 8; i++) {
		if (object->words[i] == word(number, i))
			continue;
		fprintf(stderr, "xe_objects: process %llu, object %zu, word %zu: %llx instead of %llx\n",
			(unsigned long long)seed, number, i,
			(unsigned long long)object->words[i], (unsigned long long)word(number, i));
		leave(1);
	}
}

static void wait_for_all(void)
{
	unsigned long i;

	for (i = 0; i < processes; i++)
		while (__atomic_load_n(&progress[i], __ATOMIC_RELAXED) < count)
			usleep(1000);
}

static sigjmp_buf gone;

static void on_sigbus(int signal)
{
	(void)signal;
	siglongjmp(gone, 1);
}

static int is_gone(const struct object *object, size_t number)
{
	if (sigsetjmp(gone, 1))
		return 1;
	verify(object, number);
	return 0;
}

static void see_them_go(const struct object *objects, int fd)
{
	size_t i;

	signal(SIGBUS, on_sigbus);
	make(fd, count);	/* not mapped: from now on all may be purged */
	for (i = 0; i < count; i++)
		while (!is_gone(&objects[i], i))
			usleep(10000);
	leave(0);
}

static void work(void)
{
	struct object *objects = calloc(count, sizeof(*objects)), other;
	int fd = open(node, O_RDWR | O_CLOEXEC), round;
	size_t i;

	alarm(AT_MOST_SECONDS);
	if (fd < 0 || !objects)
		fail(node, 0);
	for (i = 0; i < count; i++) {
		create(fd, &objects[i], i);
		fill(&objects[i], i);
		__atomic_add_fetch(done, 1, __ATOMIC_RELAXED);
	}
	if (purged)
		see_them_go(objects, fd);
	wait_for_all();
	for (round = 0; round < rounds; round++) {
		for (i = 0; i < count; i++) {
			verify(&objects[i], i);
			__atomic_add_fetch(done, 1, __ATOMIC_RELAXED);
			if (i % 8)
				continue;
			create(fd, &other, count + i);
			fill(&other, count + i);
			verify(&other, count + i);
			drop(fd, &other, count + i);
		}
	}
	leave(0);
}

/* In the middle of its filling, or of one of its two rounds of reading. */
static void kill_at(pid_t child, size_t *reached, size_t point)
{
	siginfo_t info;

	do {
		info.si_pid = 0;
		usleep(1000);
		if (waitid(P_PID, child, &info, WEXITED | WNOHANG | WNOWAIT))
			break;
	} while (__atomic_load_n(reached, __ATOMIC_RELAXED) < point && !info.si_pid);
	kill(child, SIGKILL);
	__atomic_store_n(reached, GONE, __ATOMIC_RELAXED);
}

static int outcome(pid_t child, int killed)
{
	int status;

	if (waitpid(child, &status, 0) != child)
		return 1;
	if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL && killed)
		return 0;
	if (WIFSIGNALED(status))
		fprintf(stderr, "xe_objects: signal %d ended a process\n", WTERMSIG(status));
	return !WIFEXITED(status) || WEXITSTATUS(status);
}

int main(int argc, char **argv)
{
	unsigned long mib, i;
	int kills, bad = 0;
	pid_t *children;

	if (argc < 7) {
		fprintf(stderr, "xe_objects: NODE wb|wc MIB OBJECT_KIB PROCESSES SEED [kill|purged]\n");
		return 2;
	}
	node = argv[1];
	caching = strcmp(argv[2], "wc") ? 1 : 2;
	mib = strtoul(argv[3], NULL, 0);
	size = strtoul(argv[4], NULL, 0) << 10;
	processes = strtoul(argv[5], NULL, 0);
	seed = strtoull(argv[6], NULL, 0);
	kills = argc > 7 && !strcmp(argv[7], "kill");
	rounds += kills;
	purged = argc > 7 && !strcmp(argv[7], "purged");
	children = calloc(processes, sizeof(*children));
	progress = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (progress == MAP_FAILED || processes > 4096 / sizeof(*progress))
		return 2;
	if (!size || !processes || !children)
		return 2;
	count = (mib << 20) / size / processes;
	for (i = 0; i < processes; i++) {
		seed++;
		done = &progress[i];
		children[i] = fork();
		if (children[i] < 0)
			return 2;
		if (!children[i])
			work();
	}
	for (i = 1; kills && i < processes; i += 2)
		kill_at(children[i], &progress[i],
			count / 2 + (seed * 7919 + i * 104729) % (2 * count));
	for (i = 0; i < processes; i++)
		bad |= outcome(children[i], kills && i % 2);
	return bad;
}
